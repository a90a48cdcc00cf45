"""Other traces that may hold the rest of a call, as far as time tells, where the audit finds that a service cuts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.result import CUTTING, Audit
from grpc_tracing.spans.names import fold
from grpc_tracing.store.onward import Begun, Entry
from grpc_tracing.store.summary import Summary

MOST: Final = 8
"""Traces that are followed from one, and doubtful ones that are told."""
_MOST_NEAR: Final = 1000
"""Traces at the same time as one: beside more than that, some other call is always in."""


class Suspect(NamedTuple):
    """A call in that began at `entered_ns`, and the trace that a call out of it began; `said` is what joins them."""

    above: str
    below: str
    entered_ns: int
    said: str


class Doubtful(NamedTuple):
    """A trace that may be the rest of the call, or what it is the rest of; others may be too."""

    trace_id: str
    said: str


@dataclass(frozen=True, slots=True)
class Suspects:
    sure: tuple[Suspect, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()


_Cuts = Mapping[tuple[str, str], tuple[frozenset[str], float]]
"""By service and target the RPCs whose calls out are cut, the empty one for any, and the service's z."""


def suspects(own: Summary, summaries: Iterable[Summary], audit: Audit) -> Suspects:
    """What may belong to this trace, and to what belongs to it."""
    cuts = _cuts(audit)
    near = [one for one in summaries if _overlap(one, own)]
    if not cuts or len(near) > _MOST_NEAR:
        return Suspects()
    sure: dict[tuple[str, str], Suspect] = {}
    doubtful: dict[str, Doubtful] = {}
    waiting, seen = [own], {own.trace_id}
    while waiting and len(seen) <= MOST:
        for pair, around in _pairs(waiting.pop(), near, cuts):
            if isinstance(pair, Doubtful):
                doubtful.setdefault(pair.trace_id, pair)
                continue
            sure[pair.above, pair.below] = pair
            waiting += [one for one in around if one.trace_id not in seen]
            seen |= {one.trace_id for one in around}
    rest = tuple(one for trace_id, one in doubtful.items() if trace_id not in seen)
    return Suspects(tuple(sure.values()), rest[:MOST])


def _overlap(one: Summary, other: Summary) -> bool:
    return one.start_ns <= other.start_ns + other.duration_ns and other.start_ns <= one.start_ns + one.duration_ns


def _cuts(audit: Audit) -> _Cuts:
    found: dict[tuple[str, str], tuple[frozenset[str], float]] = {}
    for service in audit.services:
        for route in service.routes if service.z is not None else ():
            if route.verdict in CUTTING:
                key = (fold(service.service), route.out)
                known = found.get(key, (frozenset(), 0.0))[0]
                found[key] = (known | {route.called}, service.z or 0.0)
    return found


def _pairs(
    at: Summary, near: Sequence[Summary], cuts: _Cuts
) -> Iterator[tuple[Suspect | Doubtful, tuple[Summary, ...]]]:
    """Each trace beside this one that time joins to it, or may join."""
    for below in near:
        for begun in below.calls.begun if _overlap(below, at) else ():
            if (begun.service, begun.target) not in cuts:
                continue
            around = list(_around(begun, below, near))
            if below is at or any(above is at for above, _ in around):
                yield from _told(at, below, begun, around, cuts)


def _told(
    at: Summary, below: Summary, begun: Begun, around: Sequence[tuple[Summary, Entry]], cuts: _Cuts
) -> Iterator[tuple[Suspect | Doubtful, tuple[Summary, ...]]]:
    routes, z = cuts[begun.service, begun.target]
    if len(around) == 1:
        above, entry = around[0]
        if entry.route in routes or "" in routes:
            where = begun.instance or begun.service
            said = (
                f"no other call was in at {where} when trace {below.trace_id[:8]} began there. One such pair proves "
                f"nothing; all of {begun.service}'s together do (z {z:.1f}; chance alone gives one near 0)"
            )
            yield Suspect(above.trace_id, below.trace_id, entry.start_ns, said), (above, below)
        return
    said = f"one of {len(around):,} calls that were in at {begun.instance or begun.service} when {begun.service} began"
    for above, _ in around if below is at else ((below, None),):
        yield Doubtful(above.trace_id, f"{said} {'this trace' if below is at else 'it'}"), ()


def _around(begun: Begun, below: Summary, near: Sequence[Summary]) -> Iterator[tuple[Summary, Entry]]:
    """The calls in at the same instance that were under way when it began and do not go on to its target."""
    layer = begun.layer if begun.target else Layer.SIDECAR
    for above in near:
        if above is below:
            continue
        for entry in above.calls.entries:
            same = (entry.service, entry.layer, entry.instance) == (begun.service, layer, begun.instance)
            if same and entry.start_ns <= begun.at_ns <= entry.end_ns and not entry.count((begun.layer, begun.target)):
                yield above, entry
