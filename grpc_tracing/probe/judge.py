"""From the spans of the calls to their cuts. Pure.

A call's own trace shows where it went. A service that copies no trace header begins another trace for its call out:
that root span bears this call's x-request-id, or it begins while this very call is in. The latter happens by chance
too: how often is known from the time in which none of these calls was in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.audit.facts import ENTRIES, EXITS, Fact, fact
from grpc_tracing.probe.calls import Call
from grpc_tracing.probe.result import Cut, Edge, Seen
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.names import fold
from grpc_tracing.spans.tree import Trace, assemble, edges

_DEEPEST: Final = 16
"""Cuts one below the other."""
Place = tuple[str, str]
"""Who calls whom; without a caller, what the callee began itself."""


@dataclass(frozen=True)
class Expected:
    """What the user wants to see: services in the order of the calls, and single calls from one to another."""

    path: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()

    def pairs(self) -> Iterator[Edge]:
        yield from zip(self.path, self.path[1:], strict=False)
        yield from self.edges


@dataclass
class Evidence:
    """What was read of one call: the spans of its own trace, and of all traces that lie in its time.

    `unread` says why there is less of it than was asked for.
    """

    call: Call
    own: list[Span]
    beside: list[Span] = field(default_factory=list)
    unread: str = ""


@dataclass(frozen=True)
class Before:
    """A while without calls of ours: the root spans of calls out in it, and its end in Unix nanoseconds.

    `first` is when each service was first seen in it: what ran before that, and whether it ran, is not known.
    """

    roots: Sequence[Fact] = ()
    first: Mapping[str, int] = field(default_factory=dict)
    end: int = 0

    def known(self, service: str) -> int:
        """For how many nanoseconds it is known what the service did."""
        return max(0, self.end - self.first.get(service, self.end))


@dataclass(frozen=True)
class _Found:
    """A root span that belongs to a call, by its request id or by time alone, and how long it may have begun in."""

    root: Fact
    certain: bool
    within: int


def suspects(evidence: Iterable[Evidence]) -> set[str]:
    """Services whose roots lie in a call by time alone: how often that is so by chance has to be read."""
    return {one.root.service for each in evidence for one in _belonging(each) if not one.certain}


def judge(evidence: Sequence[Evidence], before: Before, expected: Expected) -> tuple[list[Seen], list[Cut]]:
    """Each call, and the cuts of all of them, worst first."""
    found = [_belonging(one) for one in evidence]
    cuts = {place: _cut(place, evidence, found, before) for place in _places(found)}
    certain = {place for place, cut in cuts.items() if cut.certain}
    seen = [
        _seen(one, its, {_place(each.root) for each in its} & certain, cuts, expected)
        for one, its in zip(evidence, found, strict=True)
    ]
    return seen, sorted(cuts.values(), key=lambda cut: (not cut.certain, -cut.calls, cut.service, cut.target))


def _place(root: Fact) -> Place:
    return (root.service, root.target) if root.kind in EXITS else ("", root.service)


def _places(found: Iterable[Sequence[_Found]]) -> list[Place]:
    return list(dict.fromkeys(_place(one.root) for its in found for one in its))


def _belonging(evidence: Evidence) -> list[_Found]:
    """The root spans of other traces that belong to the call, those of pieces below pieces too."""
    by_trace: dict[str, list[Fact]] = defaultdict(list)
    for span in evidence.beside:
        if span.trace_id != evidence.call.trace_id:
            by_trace[span.trace_id].append(fact(span))
    roots = list(_roots(by_trace, evidence.call.request_id))
    inside = [fact(span) for span in evidence.own]
    taken: dict[str, _Found] = {}
    for _ in range(_DEEPEST):
        open_ones = [root for root in roots if root.trace_id not in taken]
        new = [one for root in open_ones if (one := _belongs(root, evidence.call.request_id, inside))]
        taken |= {one.root.trace_id: one for one in new}
        inside = [each for one in new for each in by_trace[one.root.trace_id]]
    return list(taken.values())


def _roots(by_trace: Mapping[str, Sequence[Fact]], request_id: str) -> Iterator[Fact]:
    """Without those that bear the request id of somebody else's call: they follow that one."""
    came_in: dict[str, set[str]] = defaultdict(set)
    for trace_id, facts in by_trace.items():
        for one in facts:
            if one.kind in ENTRIES and one.request_id:
                came_in[one.request_id].add(trace_id)
    for trace_id, facts in by_trace.items():
        for one in facts:
            others = came_in.get(one.request_id, set()) - {trace_id}
            if not one.parent_id and one.kind in ENTRIES | EXITS and (one.request_id == request_id or not others):
                yield one


def _belongs(root: Fact, request_id: str, inside: Iterable[Fact]) -> _Found | None:
    if root.request_id and root.request_id == request_id:
        return _Found(root, certain=True, within=0)
    if root.kind not in EXITS:
        return None
    entries = [one for one in inside if one.kind in ENTRIES and _same_place(one, root)]
    if any(one.start <= root.start <= one.end for one in entries):
        return _Found(root, certain=False, within=sum(one.end - one.start for one in entries))
    return None


def _same_place(entry: Fact, root: Fact) -> bool:
    """A sidecar and an SDK may name one instance differently, or not at all."""
    known = entry.instance and root.instance and entry.layer is root.layer
    return entry.service == root.service and (not known or entry.instance == root.instance)


def _cut(place: Place, evidence: Sequence[Evidence], found: Sequence[Sequence[_Found]], before: Before) -> Cut:
    its = [[one for one in each if _place(one.root) == place] for each in found]
    holding = [each for each in its if each]
    sure = [one for each in holding for one in each if one.certain]
    service, target = place
    of = sum(not service or _entered(one, service) for one in evidence)
    example = (sure or holding[0])[0].root.trace_id
    if sure:
        calls = sum(any(one.certain for one in each) for each in holding)
        return Cut(service, target, calls, max(of, calls), "request id", None, example)
    counts = [len(each) for each, one in zip(its, evidence, strict=True) if each or _entered(one, service)]
    chance = min(_by_rate(place, holding, len(counts), before), _by_regularity(counts))
    return Cut(service, target, len(holding), max(of, len(holding)), "time", chance, example)


def _entered(evidence: Evidence, service: str) -> bool:
    return any(fact(span).service == service for span in [*evidence.own, *evidence.beside])


def _by_rate(place: Place, holding: Sequence[Sequence[_Found]], of: int, before: Before) -> float:
    """How likely at least so many of `of` calls hold such a root by chance, at the rate of the time before.

    One more root than was seen is taken for that rate, so that a short while proves little.
    """
    known = before.known(place[0])
    if not known:
        return 1.0
    others = sum(_place(one) == place for one in before.roots)
    within = max(one.within for each in holding for one in each)
    return _at_least(len(holding), of, -math.expm1(-(others + 1) * within / known))


def _by_regularity(counts: Sequence[int]) -> float:
    """How likely each call holds as many as every other by chance, whatever the rate: at most.

    What comes at random comes k times in a while with e^-k k^k / k! at best, which is where k are to be expected.
    """
    often = counts[0]
    if set(counts) != {often}:
        return 1.0
    each: float = math.exp(often * math.log(often) - often - math.lgamma(often + 1))
    return each ** len(counts)


def _at_least(hits: int, tries: int, share: float) -> float:
    """The upper tail of a binomial distribution, by logarithms: thousands of tries pass what a float holds."""
    if not hits or share >= 1:
        return 1.0
    hit, miss = math.log(share), math.log1p(-share)
    logs = (_log_choose(tries, n) + n * hit + (tries - n) * miss for n in range(hits, tries + 1))
    return min(1.0, math.fsum(map(math.exp, logs)))


def _log_choose(tries: int, hits: int) -> float:
    return math.lgamma(tries + 1) - math.lgamma(hits + 1) - math.lgamma(tries - hits + 1)


def _seen(
    evidence: Evidence,
    found: Sequence[_Found],
    certain: set[Place],
    cuts: Mapping[Place, Cut],
    expected: Expected,
) -> Seen:
    call = evidence.call
    suspected = [cuts[place] for place in _places([found]) if place not in certain]
    problems = list(_suspicions(suspected))
    if not evidence.own:
        problems += [evidence.unread or f"the backend has no span of trace {call.trace_id}"] * (not certain)
        return Seen(call, pieces=_pieces(found), problems=tuple(problems), broken=bool(certain))
    trace = assemble(evidence.own)
    called = tuple(dict.fromkeys((edge.caller, edge.callee) for edge in edges(trace) if edge.seen))
    problems += _gaps(trace, call)
    problems += _unseen(trace, expected)
    names = tuple(dict.fromkeys(fold(span.service) for span in trace.spans))
    return Seen(call, names, called, _pieces(found), tuple(problems), broken=bool(certain))


def _pieces(found: Iterable[_Found]) -> tuple[str, ...]:
    return tuple(one.root.trace_id for one in found)


def _suspicions(cuts: Iterable[Cut]) -> Iterator[str]:
    for cut in cuts:
        yield (
            f"{cut.service} began a trace for a call to {cut.target} while this call was in, which may be chance "
            f"(p {cut.chance:.2g}): more calls tell, such as --repeat 10"
        )


def _gaps(trace: Trace, call: Call) -> Iterator[str]:
    """What of the call's own trace is not there. The span that the caller named is its own, and exported by nobody."""
    missing = [parent for parent in trace.missing_parents if parent != call.span_id]
    for parent in missing:
        below = next(fold(span.service) for span in trace.spans if span.parent_id == parent)
        yield f"a span of {below} names a parent, {parent}, that did not come: it is late, or nobody exports it"
    roots = [span for span in trace.tops if not span.parent_id]
    if roots:
        names = ", ".join(dict.fromkeys(fold(span.service) for span in roots))
        yield f"{names} began spans without a parent under this call's trace id"


def _unseen(trace: Trace, expected: Expected) -> Iterator[str]:
    """Expected calls that the trace does not show."""
    passed = _ancestors(trace)
    names = set(passed)
    for one in expected.path:
        if fold(one) not in names:
            yield f"no span of {one}, which was expected"
    for caller, callee in expected.pairs():
        if fold(callee) in names and fold(caller) not in passed[fold(callee)]:
            yield f"{callee} was not called by way of {caller}, which was expected"
        elif fold(callee) not in names and callee not in expected.path:
            yield f"no span of {callee}, which was expected"


def _ancestors(trace: Trace) -> dict[str, set[str]]:
    """The services above each service."""
    found: dict[str, set[str]] = defaultdict(set)
    above: list[frozenset[str]] = []
    for row in trace.rows:
        name = fold(row.span.service)
        over = (
            above[row.parent] | {fold(trace.rows[row.parent].span.service)} if row.parent is not None else frozenset()
        )
        above.append(over)
        found[name] |= over
    return found
