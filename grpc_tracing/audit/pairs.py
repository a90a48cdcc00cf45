"""Examples of a cut: a call in, and the call out that should have stood in its trace.

A request id joins the two for certain. Where time alone tells, the call out begins while the call in is open at the
same instance: one such pair proves nothing, and many of them do (`chance`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from grpc_tracing.audit.facts import ENTRIES, Fact, Layer, target_of
from grpc_tracing.audit.result import CUTTING, Service
from grpc_tracing.audit.traces import Begins, CallOut, Trace

MOST_EACH: Final = 3
"""Pairs of one RPC, one target and one instance."""
MOST: Final = 24
_BACK: Final = 200
"""Calls in that are looked at for one call out, the latest first."""
_DEEPEST: Final = 64
_Place = tuple[str, Layer]
"""An instance, and who saw it."""


class Pair(NamedTuple):
    """`called` is the RPC of the call in, `out` the target. `others`: how many calls in beside this one were open too
    when the call out began, which is of no matter where a request id joins them."""

    called: str
    out: str
    instance: str
    call_in: Fact
    call_out: Fact
    by_request_id: bool
    others: int


@dataclass
class _Seen:
    """What the service did: its calls in by place, and those of its calls out that begin traces."""

    entered: defaultdict[_Place, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    by_request_id: dict[str, Fact] = field(default_factory=dict)
    begun: list[Fact] = field(default_factory=list)
    goes_on: set[tuple[str, str, str]] = field(default_factory=set)
    """Trace id and span id of calls in, and the target to which each goes on."""


def pairs(traces: Iterable[Sequence[Fact]], service: Service) -> tuple[Pair, ...]:
    """Of a service that cuts, from whole traces, in the order of its routes; none of one that does not.

    Each trace holds all facts that share the last 64 bits of a trace id.
    """
    wanted = {(route.out, route.called): place for place, route in enumerate(service.routes) if _cuts(route.verdict)}
    if not wanted:
        return ()
    seen = _Seen()
    for trace in traces:
        _look(trace, service, seen)
    for calls in seen.entered.values():
        calls.sort(key=lambda one: one.start)
    starts = {place: [one.start for one in calls] for place, calls in seen.entered.items()}
    found = (pair for one in seen.begun if (pair := _pair(one, seen, starts, wanted)))
    return tuple(_chosen(found, wanted))


def _cuts(verdict: str) -> bool:
    return verdict in CUTTING


def _look(trace: Sequence[Fact], service: Service, seen: _Seen) -> None:
    if service.where == "in":
        _arrive(trace, service.service, seen)
        return
    for one in trace:
        if one.kind in ENTRIES and one.service == service.service:
            _enter(one, seen)
    by_id = {one.span_id: one for one in trace}
    for call in Trace(list(trace)).calls_out():
        if call.fact.service == service.service:
            _leave(call, by_id, seen)


def _arrive(trace: Sequence[Fact], service: str, seen: _Seen) -> None:
    """Where the SDK reads no parent: its calls in that begin traces, against the sidecar's calls in."""
    for one in trace:
        if one.kind not in ENTRIES or one.service != service:
            continue
        if one.layer is Layer.SIDECAR:
            _enter(one, seen)
        elif not one.parent_id and not one.linked:
            seen.begun.append(one)


def _enter(one: Fact, seen: _Seen) -> None:
    seen.entered[one.instance, one.layer].append(one)
    if one.request_id:
        seen.by_request_id[one.request_id] = one


def _leave(call: CallOut, by_id: Mapping[str, Fact], seen: _Seen) -> None:
    if call.begins is Begins.ITSELF:
        seen.begun.append(call.fact._replace(start=call.began))
    at, target = call.cause, _target(call.fact)
    for _ in range(_DEEPEST):
        if at is None or at.kind not in ENTRIES or at.service != call.fact.service:
            return
        seen.goes_on.add((at.trace_id, at.span_id, target))
        at = by_id.get(at.parent_id)


def _target(call_out: Fact) -> str:
    return "" if call_out.kind in ENTRIES else target_of(call_out)


def _pair(
    begun: Fact, seen: _Seen, starts: Mapping[_Place, Sequence[int]], wanted: Mapping[tuple[str, str], int]
) -> Pair | None:
    target = _target(begun)
    entered = seen.by_request_id.get(begun.request_id) if begun.request_id else None
    if entered and entered.trace_id != begun.trace_id and _named(target, entered.route, wanted):
        return Pair(entered.route, target, begun.instance, entered, begun, by_request_id=True, others=0)
    place = _held_against(begun, seen)
    calls = seen.entered[place]
    last = bisect_right(starts.get(place, []), begun.start)
    around = [
        one
        for one in reversed(calls[max(0, last - _BACK) : last])
        if begun.start <= one.end and (one.trace_id, one.span_id, target) not in seen.goes_on
    ]
    fitting = [one for one in around if _named(target, one.route, wanted)]
    if not fitting:
        return None
    call_in = fitting[0]
    return Pair(call_in.route, target, begun.instance, call_in, begun, by_request_id=False, others=len(around) - 1)


def _held_against(begun: Fact, seen: _Seen) -> _Place:
    """Each layer's calls out are held against its own calls in, where it has any."""
    own, other = begun.layer, Layer.SDK if begun.layer is Layer.SIDECAR else Layer.SIDECAR
    return (begun.instance, own if (begun.instance, own) in seen.entered else other)


def _named(target: str, called: str, wanted: Mapping[tuple[str, str], int]) -> bool:
    """Whether the audit says that this RPC, or any at all, cuts calls to this target."""
    return (target, called) in wanted or (target, "") in wanted


def _chosen(found: Iterable[Pair], wanted: Mapping[tuple[str, str], int]) -> Iterator[Pair]:
    """The plainest of each group: certain ones first, then those beside which the fewest other calls were in."""
    groups: defaultdict[tuple[int, str, str, str], list[Pair]] = defaultdict(list)
    for pair in found:
        place = wanted.get((pair.out, pair.called), len(wanted))
        groups[place, pair.called, pair.out, pair.instance].append(pair)
    told = 0
    for _, group in sorted(groups.items(), key=lambda item: item[0]):
        for pair in sorted(group, key=_plainness)[:MOST_EACH]:
            if told == MOST:
                return
            told += 1
            yield pair


def _plainness(pair: Pair) -> tuple[bool, int, int]:
    return not pair.by_request_id, pair.others, -pair.call_out.start
