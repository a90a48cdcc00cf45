"""Who broke the trace, read from the records: a hop is blamed by its own record alone.

What one hop forwarded and the next did not receive is the doing of what lies between them, and breaks the trace only
where the trace id changed. A hop without a record is unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from grpc_tracing.evidence import differences
from grpc_tracing.evidence.path import PathHop, ends_the_path, placed
from grpc_tracing.evidence.records import Header, HopRecord, contexts, reported_id
from grpc_tracing.headers.families import carries_trace_id
from grpc_tracing.headers.forwarding import Decision
from grpc_tracing.headers.reading import distinct, same_trace

_NOT_FORWARDED = frozenset({Decision.SWITCHED_OFF, Decision.LEFT_OUT})
WHY: Mapping[int, str] = {
    Decision.SWITCHED_OFF: "its propagation is set to none",
    Decision.LEFT_OUT: "missing from its own list",
    Decision.UNLISTED: "on none of its lists",
    Decision.REFUSED: "refused there",
}


def not_forwarded(hop: HopRecord, allowed: Collection[str]) -> list[Header]:
    """The headers that a hop received and, by its own record, kept, though it should forward them."""
    return [
        header
        for header in hop.headers
        if header.decision in _NOT_FORWARDED or (header.key in allowed and header.decision in WHY)
    ]


def allowed_keys(hops: Sequence[HopRecord], custom: Collection[str]) -> frozenset[str]:
    """The -H keys that some hop's list names: those it forwarded, or says that it would but for its settings."""
    known = _NOT_FORWARDED | {Decision.FORWARDED}
    return frozenset(header.key for hop in hops for header in hop.headers if header.decision in known) & set(custom)


def lost_problems(stops: Sequence[PathHop], custom: Collection[str]) -> Iterator[str]:
    records = placed(stops)
    allowed = allowed_keys([hop for _, hop in records], custom)
    for order, (place, hop) in enumerate(records):
        lost = not_forwarded(hop, allowed)
        if lost and not ends_the_path(stops, place):
            later = records[order + 1][1] if order + 1 < len(records) else None
            yield _blame(hop, lost, later, [hop for _, hop in records])


def _blame(hop: HopRecord, lost: list[Header], later: HopRecord | None, hops: list[HopRecord]) -> str:
    keys = list(dict.fromkeys(header.key for header in lost))
    what = f"{hop.service} received {', '.join(keys)} and did not forward {'it' if len(keys) == 1 else 'them'}"
    consequence = _consequence(hop, later, hops) if any(map(carries_trace_id, keys)) else ""
    return f"{what}{consequence} ({WHY[lost[0].decision]})"


def _consequence(hop: HopRecord, later: HopRecord | None, hops: list[HopRecord]) -> str:
    if later is None or same_trace(reported_id(hop), reported_id(later)):
        return ""
    if not later.trace_id:
        return f": {later.service} received no trace id"
    return f": {_count_traces(hops)}"


def _count_traces(hops: Sequence[HopRecord]) -> str:
    return f"{len(distinct(map(reported_id, hops)))} traces, expected 1"


def id_problems(stops: Sequence[PathHop]) -> Iterator[str]:
    """Trace ids that changed on the way from one record to the next, where no record says why."""
    records = placed(stops)
    for (here, hop), (there, later) in pairwise(records):
        between = _between(stops, here, there)
        if not same_trace(reported_id(hop), reported_id(later)):
            if not any(carries_trace_id(header.key) for header in not_forwarded(hop, ())):
                yield f"{_changed(hop, later)}: {between}{_counted([hop for _, hop in records])}"
        else:
            yield from (f"{what}: {between}" for what in _changed_families(hop, later))


def _counted(hops: Sequence[HopRecord]) -> str:
    return f", {_count_traces(hops)}" if len(distinct(map(reported_id, hops))) > 1 else ""


def _changed(hop: HopRecord, later: HopRecord) -> str:
    verb = "received" if hop.shortened else "forwarded"
    return f"{hop.service} {verb} {_named(hop)} and {later.service} received {_named(later)}"


def _named(hop: HopRecord) -> str:
    return f"trace {hop.trace_id}" if hop.trace_id else "no trace id"


def _changed_families(hop: HopRecord, later: HopRecord) -> Iterator[str]:
    """Trace families beside the one reported whose id changed: two families may tell of two traces."""
    arrived = contexts(later.headers)
    for key, context in contexts(differences.forwarded(hop)).items():
        theirs = arrived[key].trace_id if key in arrived else ""
        if context.trace_id and theirs and not same_trace(context.trace_id, theirs):
            yield f"{hop.service} forwarded {key} {context.trace_id} and {later.service} received {theirs}"


def _between(stops: Sequence[PathHop], here: int, there: int) -> str:
    """Who may have done it: words that blame nobody who left a record."""
    silent = [stop.service for stop in stops[here + 1 : there]]
    hop = stops[here].hop
    if silent:
        return f"{', '.join(silent)} between them left no record (unknown)"
    if hop is not None and hop.shortened:
        return f"the record of {stops[here].service} is shortened and does not say which headers it forwarded"
    return "what lies between them changed it"
