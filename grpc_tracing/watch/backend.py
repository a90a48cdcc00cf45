"""Spans from a backend: at each step those of the step before, each trace once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.audit.facts import fact
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.backends.apis import SECOND, Api, Window
from grpc_tracing.backends.jaeger import Source, StoreUnreadable
from grpc_tracing.backends.windows import Reading, choose, read
from grpc_tracing.printable import one_line
from grpc_tracing.spans.model import Span
from grpc_tracing.watch.core import Dropped, whole_traces
from grpc_tracing.watch.live import Live, say
from grpc_tracing.watch.window import Step, size_of

_AGAIN: Final = 10.0
"""Seconds at most until a backend that does not answer is asked again."""
_REMEMBERED: Final = 500_000
"""Traces that are not read again when a later search finds them."""


@dataclass
class Polling:
    """Reads from the beginning of the window on: what was there before the start is evidence, and does not count, for
    a watch before this one may have counted it."""

    live: Live
    source: Source
    name: str
    _api: Api | None = None
    _seen: int = 0
    _recent: deque[set[str]] = field(default_factory=deque)

    async def run(self) -> None:
        """Until it is cancelled."""
        began = time.time_ns()
        self._seen = began - self._behind  # a watch before this one may have counted up to here
        begin = self._oldest()
        while True:
            await asyncio.sleep(max(0, begin + self._length + self._behind - time.time_ns()) / SECOND)
            try:
                await self._step(Window(begin, begin + self._length))
            except (StoreUnreadable, OSError) as error:
                await self._wait(error)
                begin = self._given_up(begin)
                continue
            begin += self._length
            if begin + self._length + self._behind > time.time_ns():  # no other step waits to be read
                await self.live.judge(list(self.live.known.window.steps))

    @property
    def _length(self) -> int:
        """Of a step, ns."""
        return int(self.live.known.bounds.step * SECOND)

    @property
    def _behind(self) -> int:
        """So far behind now it reads, ns."""
        return int(self.live.known.bounds.settle * SECOND)

    def _oldest(self) -> int:
        """Where the window begins, Unix ns."""
        return time.time_ns() - self._behind - int(self.live.known.bounds.window * SECOND)

    async def _wait(self, error: Exception) -> None:
        if self.live.sight.misses():
            say(f"blind: {one_line(str(error))}; it is asked again until it answers")
        await asyncio.sleep(min(self.live.known.bounds.step, _AGAIN))

    def _given_up(self, begin: int) -> int:
        """Where to go on: steps that have left the window are not read any more, which loses what is not seen yet."""
        late = max(0, -(-(self._oldest() - begin) // self._length)) * self._length
        self.live.sight.lost += max(0, min(late, begin + late - self._seen)) / SECOND
        return begin + late

    async def _step(self, window: Window) -> None:
        if self._api is None:
            self._api = await choose(self.source, self.name)
            say(f"reading {self._api.name} at {one_line(self.source.url)}")
        known: set[str] = set().union(*self._recent)
        reading, evidence, batches = Reading(traces=set(known)), Ledger(), Taken()
        async for batch in read(self.source, self._api, window, reading):
            batches.take(evidence, batch)
            if size_of(evidence) > self.live.known.bounds.size:
                reading.missing.append("a step holds more than --max-bytes: give more, or a shorter --step")
                break
        self._remember(reading.traces - known)
        self._keep(batches)
        missing = tuple(one_line(one) for one in reading.missing)
        for one in missing[:1]:
            say(f"not read: {one}" + (f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""))
        begin, end = window.start / SECOND, window.end / SECOND
        self.live.known.add(Step(begin, end, evidence, window.end > self._seen, size_of(evidence), missing))

    def _remember(self, traces: set[str]) -> None:
        self._recent.append(traces)
        bounds = self.live.known.bounds
        while len(self._recent) > bounds.window / bounds.step or sum(map(len, self._recent)) > _REMEMBERED:
            self._recent.popleft()

    def _keep(self, taken: Taken) -> None:
        known = self.live.known
        known.spans += taken.spans
        known.traces += taken.traces
        known.dropped[Dropped.TWICE] += taken.twice
        self.live.hear(self.live.clock())


@dataclass
class Taken:
    """Counts of a step; it may come to nothing, where the backend ends in the middle."""

    spans: int = 0
    traces: int = 0
    twice: int = 0

    def take(self, evidence: Ledger, batch: Iterable[Span]) -> None:
        traces, twice = whole_traces(map(fact, batch))
        for trace in traces:
            evidence.take_trace(trace)
        self.traces += len(traces)
        self.twice += twice
        self.spans += twice + sum(map(len, traces))
