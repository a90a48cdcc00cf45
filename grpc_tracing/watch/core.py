"""What the watch knows: spans in, steps judged, counters; no clock, no sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from grpc_tracing.audit.facts import Fact
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit
from grpc_tracing.audit.sampling import Sampling
from grpc_tracing.audit.traces import Key, key_of, trace_of
from grpc_tracing.watch.counts import Counts
from grpc_tracing.watch.names import Names
from grpc_tracing.watch.open_traces import SPAN_BYTES, Settling
from grpc_tracing.watch.window import Step, Window, size_of


class Dropped(StrEnum):
    """Why a span that came is not judged."""

    BAD_IDS = "bad_ids"
    TWICE = "twice"
    MEMORY = "memory"


@dataclass(frozen=True)
class Bounds:
    """Seconds, spans of open traces, bytes of all that is held."""

    window: float = 600.0
    step: float = 60.0
    settle: float = 15.0
    spans: int = 100_000
    size: int = 512 * 1024**2


@dataclass
class Known:
    """Everything that a scrape shows. Times are seconds on the clock that the caller has."""

    bounds: Bounds
    sampling: Sampling | None = None
    spans: int = 0
    """That came, those dropped among them."""
    traces: int = 0
    dropped: Counter[Dropped] = field(default_factory=Counter)
    unread: int = 0
    """Parts of a backend's answers."""
    counts: Counts = field(default_factory=Counts)
    names: Names = field(default_factory=Names)
    window: Window = field(init=False)
    settling: Settling = field(init=False)
    audit: Audit | None = None
    took: float = 0.0
    """Seconds of the last judgement."""
    _flowing: Ledger = field(default_factory=Ledger)
    _flowing_size: int = 0

    def __post_init__(self) -> None:
        self.window = Window(self.bounds.window, self.bounds.size)
        self.settling = Settling(self.bounds.settle, self.bounds.spans)

    @property
    def held(self) -> int:
        """Bytes, by what each thing was measured to take."""
        return self.window.bytes + self._flowing_size + self.settling.spans * SPAN_BYTES

    def take(self, facts: Iterable[Fact | None], now: float) -> Counter[Dropped]:
        """Spans in any order, those with bad ids as None; gives those that it drops."""
        dropped: Counter[Dropped] = Counter()
        full = self.held > self.bounds.size and not self._room()
        for one in facts:
            self.spans += 1
            if one is None:
                dropped[Dropped.BAD_IDS] += 1
            elif full:
                dropped[Dropped.MEMORY] += 1
            elif not self.settling.take(one, now):
                dropped[Dropped.TWICE] += 1
        self.dropped += dropped
        return dropped

    def _room(self) -> bool:
        """The oldest steps go before what is new does."""
        while self.window.steps and self.held > self.bounds.size:
            self.window.shorten()
        return self.held <= self.bounds.size

    def settle(self, now: float, most: int) -> bool:
        """Judges traces to be whole until so many spans are; False where no more are due."""
        done = 0
        for trace in self.settling.settled(now):
            self._flowing.take_trace(trace)
            self.traces += 1
            done += len(trace)
            if done >= most:
                return True
        return False

    def weigh(self) -> None:
        """What the step under way takes; it looks at each place and RPC, so now and then."""
        self._flowing_size = size_of(self._flowing)

    def turn(self, begin: float, end: float) -> list[Step]:
        """The step under way ends, and counts; gives those to judge."""
        evidence, self._flowing_size = self._flowing.handed_over(), 0
        self.names.forget()
        return self.add(Step(begin, end, evidence, counts=True, size=size_of(evidence)))

    def add(self, step: Step) -> list[Step]:
        """A step that is whole; gives those to judge."""
        self.window.add(step)
        self.unread += len(step.missing)
        if step.counts:
            self.counts.take(step)
        return list(self.window.steps)

    def judge(self, audit: Audit, steps: Sequence[Step], took: float) -> None:
        """What the steps said."""
        self.counts.judge(audit, steps)
        self.audit, self.took = audit, took


def whole_traces(facts: Iterable[Fact]) -> tuple[list[list[Fact]], int]:
    """Spans of traces that are whole, by trace; and how many of them came twice."""
    traces: dict[str, dict[Key, Fact]] = {}
    twice = 0
    for one in facts:
        trace = traces.setdefault(trace_of(one), {})
        before = len(trace)
        trace.setdefault(key_of(one), one)
        twice += len(trace) == before
    return [list(trace.values()) for trace in traces.values()], twice
