"""Each header's thread through the hops of a call, by their records: where it begins, changes, joins and ends."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from grpc_tracing.evidence.differences import change
from grpc_tracing.evidence.kept import WHY
from grpc_tracing.evidence.records import Header, contexts
from grpc_tracing.headers.families import DEFAULT_KEYS, carries_trace_id
from grpc_tracing.headers.forwarding import GOES_ON, Decision
from grpc_tracing.headers.reading import same_trace
from grpc_tracing.store import calls

MOST: Final = 40
"""Threads of one call; a record may list hundreds of headers."""
_DECISIONS: Final = {one.name.lower(): int(one) for one in Decision}
_UNKNOWN: Final = -1
_KEPT: Final = frozenset({Decision.SWITCHED_OFF, Decision.LEFT_OUT})


class Knot(StrEnum):
    """What became of a header on its way to a hop."""

    ABSENT = "not here"
    UNSEEN = "no record"
    RECEIVED = "received"
    SAME = "the same"
    NEW_SPAN = "new span id"
    JOINED = "joined"
    CHANGED = "changed"
    ANEW = "begun anew"
    OTHER_TRACE = "another trace"
    LOST = "lost"
    PERHAPS_LOST = "perhaps lost"


TORN: Final = frozenset({Knot.OTHER_TRACE, Knot.LOST})


@dataclass(frozen=True, slots=True)
class Stop:
    """A header at one hop. `ends` says why it goes no further from here; empty: it goes on, or nobody comes after.

    `kept`: it ends here though it should go on, or, at the `last` hop, would.
    """

    service: str
    knot: Knot
    values: tuple[str, ...]
    said: str
    ends: str
    kept: bool
    last: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """One header; a stop for each hop."""

    key: str
    stops: tuple[Stop, ...]

    @property
    def torn(self) -> bool:
        """Whether it should have gone on, and did not."""
        return any((stop.kept and not stop.last) or stop.knot in TORN for stop in self.stops)


_Received = tuple[Header, ...] | None
"""What a hop received; None: it left no record that tells."""


def threads(call: calls.Call) -> tuple[Thread, ...]:
    """Trace headers first, in the order of their families; those that never go on anywhere are left out."""
    received = [_received(hop) for hop in call.hops]
    keys = dict.fromkeys(
        header.key for headers in received for header in headers or () if header.decision != Decision.REFUSED
    )
    ranks = {key: rank for rank, key in enumerate(DEFAULT_KEYS)}
    ordered = sorted(keys, key=lambda key: ranks.get(key, len(ranks)))
    return tuple(Thread(key, tuple(_stops(key, call.hops, received))) for key in ordered[:MOST])


def lost_at(threads: Sequence[Thread], place: int) -> tuple[Thread, ...]:
    """The threads that end at this hop and should not: by its own record, else by that of the next hop with one."""
    return tuple(one for one in threads if one.stops[place].kept or _lost_behind(one, place))


def _lost_behind(thread: Thread, place: int) -> bool:
    if thread.stops[place].knot is not Knot.UNSEEN:
        return False
    after = next((stop for stop in thread.stops[place:] if stop.knot is not Knot.UNSEEN), None)
    return after is not None and after.knot in TORN


def _received(hop: calls.Hop) -> _Received:
    return None if hop.record in {"unknown", "shortened"} else tuple(_header(one) for one in hop.headers)


def _header(one: calls.Header) -> Header:
    return Header(
        key=one.key,
        value=_bytes(one),
        length=one.length,
        sha256=bytes.fromhex(one.sha256),
        decision=_DECISIONS.get(one.decision, _UNKNOWN),
    )


def _bytes(one: calls.Header) -> bytes:
    """The JSON has `-bin` values in base64."""
    if one.key.endswith("-bin"):
        try:
            return base64.b64decode(one.value, validate=True)
        except ValueError:
            pass
    return one.value.encode()


def _stops(key: str, hops: Sequence[calls.Hop], received: Sequence[_Received]) -> Iterator[Stop]:
    before: _Received = None
    silent: list[str] = []
    for place, (hop, headers) in enumerate(zip(hops, received, strict=True)):
        if headers is None:
            yield Stop(hop.service, Knot.UNSEEN, (), "", "", kept=False)
            silent.append(hop.service)
            continue
        knot, said = _knot(key, before, headers)
        own = [one for one in headers if one.key == key]
        told = [one for one in hop.headers if one.key == key]
        is_last = place == len(hops) - 1
        ends, kept = _end(own, told, is_last=is_last)
        between = f", past {', '.join(silent)}" if silent and knot not in {Knot.SAME, Knot.ABSENT} else ""
        values = tuple(map(_shown, told))
        yield Stop(hop.service, knot, values, said + between if said else "", ends, kept, is_last)
        before, silent = headers, []


def _knot(key: str, before: _Received, arrived: tuple[Header, ...]) -> tuple[Knot, str]:
    here = [one for one in arrived if one.key == key]
    left = [one for one in before or () if one.key == key and one.decision in GOES_ON]
    if not left:
        return _unannounced(key, before, arrived) if here else (Knot.ABSENT, "")
    what = change(key, left, arrived)
    if what is None:
        return (Knot.NEW_SPAN, "") if _other_values(left, here) else (Knot.SAME, "")
    if carries_trace_id(key) and _other_trace(key, before, arrived):
        return Knot.OTHER_TRACE, "the trace that was sent is not the one that came"
    return {
        "folded": (Knot.JOINED, f"{len(left)} values became one"),
        "lost": (Knot.LOST, "sent, and not received"),
        "perhaps-lost": (Knot.PERHAPS_LOST, "sent, and not in the record"),
        "reordered": (Knot.CHANGED, "in another order"),
        "other-count": (Knot.CHANGED, f"{len(here)} in place of {len(left)}"),
    }.get(what.name, (Knot.CHANGED, "another value than was sent"))


def _unannounced(key: str, before: _Received, arrived: tuple[Header, ...]) -> tuple[Knot, str]:
    """It came, and no hop before is known to have sent it."""
    if before is None:
        return Knot.RECEIVED, ""
    if carries_trace_id(key) and _other_trace(key, before, arrived):
        return Knot.OTHER_TRACE, "something between began a trace"
    if not any(one.key == key for one in before):
        return Knot.RECEIVED, "something between wrote it"
    return Knot.ANEW, "something between wrote it anew"


def _other_trace(key: str, before: _Received, arrived: tuple[Header, ...]) -> bool:
    was, now = contexts(before or ()).get(key), contexts(arrived).get(key)
    return bool(was and now and was.trace_id and now.trace_id and not same_trace(was.trace_id, now.trace_id))


def _other_values(left: Sequence[Header], here: Sequence[Header]) -> bool:
    """Of a key-only header there is no value to compare."""
    known = [[(one.length, one.value) for one in side if one.value or one.length] for side in (left, here)]
    return bool(known[0] and known[1]) and known[0] != known[1]


def _end(own: Sequence[Header], told: Sequence[calls.Header], *, is_last: bool) -> tuple[str, bool]:
    """At the last hop nothing has to go on, and what is on a list says no more than that it would."""
    if not own or any(one.decision in GOES_ON for one in own):
        return "", False
    decision = own[0].decision
    if is_last and decision not in _KEPT:
        return "", False
    if decision == Decision.SUPERSEDED:
        return "superseded: x-b3-* says the same and goes on", False
    words = told[0].decision.replace("_", " ") or "not forwarded"
    return f"{words}: {WHY[decision]}" if decision in WHY else words, decision in _KEPT


def _shown(one: calls.Header) -> str:
    if one.length:
        return f"{one.value}… ({one.length:,} bytes)"
    return one.value
