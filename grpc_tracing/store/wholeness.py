"""What shows that a trace has all of its call: the customs of the services in all traces of the store.

That spans hang together does not show it: where a service forgets the headers, the first piece looks like a call that
ended there. So a trace is held against what its services do in the others. Nothing here reads a clock.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.result import CUTTING, Audit, Word
from grpc_tracing.spans.names import fold
from grpc_tracing.store.onward import Begun, Entry, Onward
from grpc_tracing.store.summary import Summary

# From so large a share of an RPC's calls on that go on to a service, one that does not lacks a span.
_MOST = 0.9
# Calls in that are looked at for the one around a moment: beside a call of hours there may be all of them.
_NEAR = 1000


class Pod(NamedTuple):
    """Spans of one clock."""

    service: str
    layer: Layer
    instance: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The services of which the audit knows that they cut traces, and that they begin them as jobs do."""

    cutters: Collection[str] = ()
    jobs: Collection[str] = ()


def judged_of(audit: Audit | None) -> Judged:
    """By the services' names in pictures, without their namespace."""
    words = [(fold(one.service), one.verdict) for one in audit.services] if audit else []
    return Judged(
        cutters=frozenset(name for name, word in words if word in CUTTING),
        jobs=frozenset(name for name, word in words if word is Word.JOB),
    )


@dataclass(slots=True)
class _Custom:
    """How calls in of one RPC go on: how many came in, how many of them went on to whom, and how often at most."""

    entered: int = 0
    went_on: Counter[Onward] = field(default_factory=Counter)
    at_most: dict[Onward, int] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        self.entered += 1
        for onward, times in entry.goes_on:
            self.went_on[onward] += 1
            self.at_most[onward] = max(times, self.at_most.get(onward, 0))


class Customs:
    """Of all traces of a store."""

    def __init__(self, summaries: Iterable[Summary], paired: Iterable[str], judged: Judged) -> None:
        """`paired` are the ids of pieces whose call is known: they are the rest of no other call."""
        self._judged = judged
        self._calls: defaultdict[tuple[str, Layer, str], _Custom] = defaultdict(_Custom)
        self._under_way: defaultdict[Pod, list[Entry]] = defaultdict(list)
        self._made: Counter[tuple[str, Onward]] = Counter()
        self._answered: Counter[tuple[str, Onward]] = Counter()
        begun: defaultdict[str, Counter[Onward]] = defaultdict(Counter)
        known = frozenset(paired)
        for summary in summaries:
            for entry in summary.calls.entries:
                self._calls[entry.service, entry.layer, entry.route].take(entry)
                self._under_way[Pod(entry.service, entry.layer, entry.instance)].append(entry)
            for out in summary.calls.outs:
                self._made[out.service, out.onward] += 1
                self._answered[out.service, out.onward] += out.answered
            for one in summary.calls.begun if summary.trace_id not in known else ():
                begun[one.service][one.layer, one.target] += 1
        self.served = frozenset(pod.service for pod in self._under_way)
        self._begun = {name: found for name, found in begun.items() if name not in judged.jobs}
        self._longest = {pod: max(_lasts(one) for one in held) for pod, held in self._under_way.items()}
        for held in self._under_way.values():
            held.sort(key=lambda one: one.start_ns)

    def doubts(self, summary: Summary) -> Iterator[str]:
        """Why a trace that hangs together need not be all of its call, a sentence each."""
        yield from filter(None, map(self._alone, summary.calls.begun))
        for entry in summary.calls.entries:
            yield from self._unfinished(entry)
        for out in summary.calls.outs:
            answered, made = self._answered[out.service, out.onward], self._made[out.service, out.onward]
            if not out.answered and answered >= made * _MOST:
                yield f"The call from {out.service} to {out.onward[1]} left no span there; {answered:,} of {made:,} did"

    def _alone(self, begun: Begun) -> str:
        """Of what began a trace at a service that others call, where nothing shows what it belongs to."""
        name = begun.service
        if not begun.target:
            beside = Pod(begun.service, Layer.SIDECAR, begun.instance) in self._under_way
            return f"It begins in {name}'s SDK, while {name}'s sidecar takes calls in" if beside else ""
        if begun.service not in self.served or begun.service in self._judged.jobs:
            return ""
        return f"{name} began it while no call in that lacks it was under way there: a job, or a call in without a span"

    def _unfinished(self, entry: Entry) -> Iterator[str]:
        custom, name = self._calls[entry.service, entry.layer, entry.route], entry.service
        begun = self._begun.get(entry.service, Counter())
        for onward, times in begun.items():
            inner = not onward[1]
            if inner and entry.layer is Layer.SDK:
                continue
            if entry.count(onward) < max(1, custom.at_most.get(onward, 0)):
                yield _one_of(name, onward[1], times)
        for onward, times in custom.went_on.items():
            if onward not in begun and times >= custom.entered * _MOST and not entry.count(onward):
                whom = onward[1] or f"the SDK in {name}"
                yield f"{times:,} of {custom.entered:,} such calls go on from {name} to {whom}, and this one shows none"

    def follows_a_call(self, begun: Begun) -> bool:
        """Whether a call out that began a trace is shown to belong below a call in, as far as one trace can tell."""
        if begun.service in (*self._judged.cutters, *self._judged.jobs):
            return begun.service in self._judged.cutters
        return any(not entry.count((begun.layer, begun.target)) for entry in self._around(begun))

    def _around(self, begun: Begun) -> Iterator[Entry]:
        """The calls in at the same instance that were under way when it began."""
        pod = Pod(begun.service, begun.layer, begun.instance)
        held = self._under_way.get(pod, [])
        first_after = bisect_right(held, begun.at_ns, key=lambda one: one.start_ns)
        for entry in reversed(held[max(0, first_after - _NEAR) : first_after]):
            if entry.start_ns + self._longest[pod] < begun.at_ns:
                return
            if entry.end_ns >= begun.at_ns:
                yield entry


def _lasts(entry: Entry) -> int:
    return entry.end_ns - entry.start_ns


def _one_of(name: str, target: str, times: int) -> str:
    began = "began a trace of its own" if times == 1 else "began traces of their own"
    calls = f"{times:,} {'call' if times == 1 else 'calls'}"
    if not target:
        return f"{calls} in {began} in {name}'s SDK: one of them may belong here"
    return f"{calls} from {name} to {target} {began}: one of them may be the rest of this call"
