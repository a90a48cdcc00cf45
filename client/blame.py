"""Who broke the trace, read from the records: a hop is blamed by its own record alone.

What one hop forwarded and the next did not receive is the doing of what lies between them, and breaks the trace only
where the trace id changed. A hop without a record is unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from client import differences, traceid
from client.path import Stop, ends_the_path, placed
from protos import hop_pb2

_NOT_FORWARDED = frozenset({hop_pb2.SWITCHED_OFF, hop_pb2.LEFT_OUT})
WHY = {
    hop_pb2.SWITCHED_OFF: "its propagation is set to none",
    hop_pb2.LEFT_OUT: "missing from its own list",
    hop_pb2.UNLISTED: "on none of its lists",
    hop_pb2.REFUSED: "refused there",
}


def not_forwarded(hop: hop_pb2.Hop, allowed: Collection[str]) -> list[hop_pb2.Header]:
    """The headers that a hop received and, by its own record, kept, though it should forward them."""
    return [
        header
        for header in hop.headers
        if header.fate in _NOT_FORWARDED or (header.key in allowed and header.fate in WHY)
    ]


def allowed_keys(hops: Sequence[hop_pb2.Hop], custom: Collection[str]) -> frozenset[str]:
    """The -H keys that some hop's list names: those it forwarded, or says that it would but for its settings."""
    known = _NOT_FORWARDED | {hop_pb2.FORWARDED}
    return frozenset(header.key for hop in hops for header in hop.headers if header.fate in known) & set(custom)


def lost_problems(stops: Sequence[Stop], custom: Collection[str]) -> Iterator[str]:
    records = placed(stops)
    allowed = allowed_keys([hop for _, hop in records], custom)
    for order, (place, hop) in enumerate(records):
        lost = not_forwarded(hop, allowed)
        if lost and not ends_the_path(stops, place):
            later = records[order + 1][1] if order + 1 < len(records) else None
            yield _blame(hop, lost, later, [hop for _, hop in records])


def _blame(hop: hop_pb2.Hop, lost: list[hop_pb2.Header], later: hop_pb2.Hop | None, hops: list[hop_pb2.Hop]) -> str:
    keys = list(dict.fromkeys(header.key for header in lost))
    what = f"{hop.service} received {', '.join(keys)} and did not forward {'it' if len(keys) == 1 else 'them'}"
    consequence = _consequence(hop, later, hops) if any(map(traceid.carries_trace_id, keys)) else ""
    return f"{what}{consequence} ({WHY[lost[0].fate]})"


def _consequence(hop: hop_pb2.Hop, later: hop_pb2.Hop | None, hops: list[hop_pb2.Hop]) -> str:
    if later is None or traceid.same_trace(traceid.reported_id(hop), traceid.reported_id(later)):
        return ""
    if not later.trace_id:
        return f": {later.service} received no trace id"
    return f": {_count_traces(hops)}"


def _count_traces(hops: Sequence[hop_pb2.Hop]) -> str:
    return f"{len(traceid.distinct(map(traceid.reported_id, hops)))} traces, expected 1"


def id_problems(stops: Sequence[Stop]) -> Iterator[str]:
    """Trace ids that changed on the way from one record to the next, where no record says why."""
    records = placed(stops)
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
