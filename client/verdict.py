"""The verdict of one call, read from what it left behind. Pure: no network, no clock.

Only a hop's own record can blame it. What one hop forwarded and the next did not receive is the doing of
what lies between them, and breaks the trace only where the trace id changed. A hop without a record is unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from client import differences, traceid
from client.greetings import wrong_answers
from client.outcome import Outcome
from client.picture import Picture
from protos import hop_pb2

CONNECTED, BROKEN, FAILED = "connected", "broken", "failed"
_NOT_FORWARDED = frozenset({hop_pb2.SWITCHED_OFF, hop_pb2.LEFT_OUT})
_WHY = {
    hop_pb2.SWITCHED_OFF: "its propagation is set to none",
    hop_pb2.LEFT_OUT: "missing from its own list",
    hop_pb2.UNLISTED: "on none of its lists",
    hop_pb2.REFUSED: "refused there",
}


@dataclass(frozen=True)
class Stop:
    """A place on the path; `hop` is None where it left no record."""

    service: str
    hop: hop_pb2.Hop | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict of a call. `notes` are worth telling and break nothing; `traces` counts the ids in the records."""

    verdict: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    stops: tuple[Stop, ...]
    trace_id: str
    traces: int

    @property
    def path(self) -> tuple[str, ...]:
        """The services that left a record, in order."""
        return tuple(stop.service for stop in self.stops if stop.hop)


def judge(
    outcome: Outcome, expected: Sequence[str], custom: Collection[str] = (), picture: Picture | None = None
) -> Judgement:
    """The verdict of a call over the `expected` services; `custom` are the keys given with -H.

    `picture` is what a trace backend shows of the call, where one was asked.
    """
    stops = align(outcome.hops, expected)
    ids = traceid.distinct(traceid.reported_id(hop) for hop in outcome.hops)
    failures = [*_status_problem(outcome, picture), *_answer_problems(outcome)]
    breaks = [*_path_problems(outcome, stops, expected), *_lost_problems(stops, custom), *_id_problems(stops)]
    breaks += _picture_problems(outcome, picture, len(ids))
    return Judgement(
        verdict=FAILED if failures else BROKEN if breaks else CONNECTED,
        problems=(*failures, *breaks),
        notes=tuple(_notes(outcome, stops, custom)),
        stops=stops,
        trace_id=ids[0].zfill(32) if ids else "",
        traces=len(ids),
    )


def align(hops: Sequence[hop_pb2.Hop], expected: Sequence[str]) -> tuple[Stop, ...]:
    """The path with its gaps: the expected services, each with its record; the records alone where they do not fit."""
    if not _fits([hop.service for hop in hops], expected):
        return tuple(Stop(hop.service, hop) for hop in hops)
    rest = list(hops)
    return tuple(Stop(name, rest.pop(0) if rest and rest[0].service == name else None) for name in expected)


def _fits(path: Sequence[str], expected: Sequence[str]) -> bool:
    """True where `path` is `expected` with nothing but gaps."""
    rest = iter(expected)
    return all(name in rest for name in path)


def no_trace_came(outcome: Outcome) -> bool:
    """True where there are records, and none shows a trace header: nothing begins a trace before the first hop."""
    return bool(outcome.hops) and not any(hop.trace_id for hop in outcome.hops)


def _status_problem(outcome: Outcome, picture: Picture | None) -> Iterator[str]:
    if outcome.status == "DEADLINE_EXCEEDED" and not outcome.hops:
        deepest = f": the deepest hop that left a span is {picture.deepest}" if picture and picture.deepest else ""
        yield f"no answer within {outcome.timeout:g}s{deepest}"
    elif outcome.status != "OK":
        yield f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status


def _answer_problems(outcome: Outcome) -> list[str]:
    return wrong_answers(outcome.rpc, outcome.asked, outcome.responses) if outcome.status == "OK" else []


def _picture_problems(outcome: Outcome, picture: Picture | None, traces: int) -> Iterator[str]:
    if outcome.status == "OK" and picture is not None:
        yield from picture.problems(traces)
    elif outcome.status == "OK" and not outcome.hops:
        yield "no hop left a record, so nothing shows where the trace went: set TALK_HOP_RECORDS=on, or give --traces"


def _path_problems(outcome: Outcome, stops: Sequence[Stop], expected: Sequence[str]) -> Iterator[str]:
    if not _fits([hop.service for hop in outcome.hops], expected):
        path = ", ".join(hop.service for hop in outcome.hops)
        yield f"the path was {path}, expected {', '.join(expected)}"
    last = next((place for place in reversed(range(len(stops))) if stops[place].hop), len(stops))
    if outcome.status == "OK" and last + 1 < len(stops) and _called_nobody(stops[last]):
        yield f"{stops[last].service} answered by itself, expected {stops[last + 1].service} after it"


def _called_nobody(stop: Stop) -> bool:
    return stop.hop is not None and not stop.hop.shortened and not stop.hop.later_us


def not_forwarded(hop: hop_pb2.Hop, allowed: Collection[str]) -> list[hop_pb2.Header]:
    """The headers that a hop received and, by its own record, kept, though it should forward them."""
    return [
        header
        for header in hop.headers
        if header.fate in _NOT_FORWARDED or (header.key in allowed and header.fate in _WHY)
    ]


def allowed_keys(hops: Sequence[hop_pb2.Hop], custom: Collection[str]) -> frozenset[str]:
    """The -H keys that some hop's list names: those it forwarded, or says that it would but for its settings."""
    known = _NOT_FORWARDED | {hop_pb2.FORWARDED}
    return frozenset(header.key for hop in hops for header in hop.headers if header.fate in known) & set(custom)


def _records(stops: Sequence[Stop]) -> list[tuple[int, hop_pb2.Hop]]:
    return [(place, stop.hop) for place, stop in enumerate(stops) if stop.hop]


def _ends_the_path(stops: Sequence[Stop], place: int) -> bool:
    """True for a hop that calls nobody: there, `forwarded` means no more than that it would."""
    return place + 1 == len(stops) or (
        _called_nobody(stops[place]) and not any(stop.hop for stop in stops[place + 1 :])
    )


def _lost_problems(stops: Sequence[Stop], custom: Collection[str]) -> Iterator[str]:
    records = _records(stops)
    allowed = allowed_keys([hop for _, hop in records], custom)
    for order, (place, hop) in enumerate(records):
        lost = not_forwarded(hop, allowed)
        if lost and not _ends_the_path(stops, place):
            later = records[order + 1][1] if order + 1 < len(records) else None
            yield _blame(hop, lost, later, [hop for _, hop in records])


def _blame(hop: hop_pb2.Hop, lost: list[hop_pb2.Header], later: hop_pb2.Hop | None, hops: list[hop_pb2.Hop]) -> str:
    keys = list(dict.fromkeys(header.key for header in lost))
    what = f"{hop.service} received {', '.join(keys)} and did not forward {'it' if len(keys) == 1 else 'them'}"
    consequence = _consequence(hop, later, hops) if any(map(traceid.carries_trace_id, keys)) else ""
    return f"{what}{consequence} ({_WHY[lost[0].fate]})"


def _consequence(hop: hop_pb2.Hop, later: hop_pb2.Hop | None, hops: list[hop_pb2.Hop]) -> str:
    if later is None or traceid.same_trace(traceid.reported_id(hop), traceid.reported_id(later)):
        return ""
    if not later.trace_id:
        return f": {later.service} received no trace id"
    return f": {_count_traces(hops)}"


def _count_traces(hops: Sequence[hop_pb2.Hop]) -> str:
    return f"{len(traceid.distinct(map(traceid.reported_id, hops)))} traces, expected 1"


def _id_problems(stops: Sequence[Stop]) -> Iterator[str]:
    """Trace ids that changed on the way from one record to the next, where no record says why."""
    records = _records(stops)
    for (here, hop), (there, later) in pairwise(records):
        between = _between(stops, here, there)
        if not traceid.same_trace(traceid.reported_id(hop), traceid.reported_id(later)):
            if not any(traceid.carries_trace_id(header.key) for header in not_forwarded(hop, ())):
                yield f"{_changed(hop, later)}: {between}{_counted([hop for _, hop in records])}"
        else:
            yield from (f"{what}: {between}" for what in _changed_families(hop, later))


def _counted(hops: Sequence[hop_pb2.Hop]) -> str:
    return f", {_count_traces(hops)}" if len(traceid.distinct(map(traceid.reported_id, hops))) > 1 else ""


def _changed(hop: hop_pb2.Hop, later: hop_pb2.Hop) -> str:
    verb = "received" if hop.shortened else "forwarded"
    return f"{hop.service} {verb} {_named(hop)} and {later.service} received {_named(later)}"


def _named(hop: hop_pb2.Hop) -> str:
    return f"trace {hop.trace_id}" if hop.trace_id else "no trace id"


def _changed_families(hop: hop_pb2.Hop, later: hop_pb2.Hop) -> Iterator[str]:
    """Trace families beside the one reported whose id changed: two families may tell of two traces."""
    arrived = {header.key: header for header in later.headers}
    for header in differences.forwarded(hop):
        ours = traceid.trace_id_in(header.key, header.value)
        theirs = header.key in arrived and traceid.trace_id_in(header.key, arrived[header.key].value)
        if ours and theirs and not traceid.same_trace(ours, theirs):
            yield f"{hop.service} forwarded {header.key} {ours} and {later.service} received {theirs}"


def _between(stops: Sequence[Stop], here: int, there: int) -> str:
    """Who may have done it: words that blame nobody who left a record."""
    silent = [stop.service for stop in stops[here + 1 : there]]
    hop = stops[here].hop
    if silent:
        return f"{', '.join(silent)} between them left no record (unknown)"
    if hop is not None and hop.shortened:
        return f"the record of {stops[here].service} is shortened and does not say which headers it forwarded"
    return "what lies between them changed it"


def _notes(outcome: Outcome, stops: Sequence[Stop], custom: Collection[str]) -> Iterator[str]:
    records = _records(stops)
    if records:
        reached = len(stops) if outcome.status == "OK" else records[-1][0]
        yield from (f"{stop.service} left no record: unknown" for stop in stops[:reached] if not stop.hop)
    elif outcome.status != "OK":
        yield "no hop left a record: the call did not reach the first one, or the connection to it was cut"
    yield from (f"the record of {hop.service} is shortened" for _, hop in records if hop.shortened)
    yield from _notes_on_keeping(stops, custom)
    if records and not records[0][1].shortened:
        first = records[0][1]
        for what in differences.differences(differences.sent_headers(outcome.sent), first.headers):
            yield f"between the requester and {first.service}: {what}"
    yield from _notes_between(stops)


def _notes_between(stops: Sequence[Stop]) -> Iterator[str]:
    for (here, hop), (there, later) in pairwise(_records(stops)):
        if not hop.shortened and not later.shortened:
            silent = "".join(f" ({stop.service} left no record)" for stop in stops[here + 1 : there])
            for what in differences.differences(differences.forwarded(hop), later.headers):
                yield f"between {hop.service} and {later.service}{silent}: {what}"


def _notes_on_keeping(stops: Sequence[Stop], custom: Collection[str]) -> Iterator[str]:
    """-H headers that no service is set to forward, and what the last service would keep if it called anybody."""
    records = _records(stops)
    allowed = allowed_keys([hop for _, hop in records], custom)
    for place, hop in records:
        for header in hop.headers:
            if header.key in set(custom) - allowed and header.fate in _WHY:
                yield f"{header.key} went no further than {hop.service} ({_WHY[header.fate]})"
        kept = list(dict.fromkeys(header.key for header in not_forwarded(hop, allowed)))
        if kept and _ends_the_path(stops, place):
            yield f"{hop.service} is the last and would not forward {', '.join(kept)}"
