"""The audit of what the store holds: in a thread, kept until spans change, and never most of the time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.pairs import Pair, pairs
from grpc_tracing.audit.result import Audit, Service
from grpc_tracing.audit.traces import NARROW
from grpc_tracing.spans.formats.otlp import read_chunk
from grpc_tracing.spans.model import Span
from grpc_tracing.store.fixes import language_of
from grpc_tracing.store.live import Changes
from grpc_tracing.store.store import TraceStore
from grpc_tracing.store.timeline import Matrix, matrix

PAUSE: Final = 2.0
"""Seconds between two audits, at the least."""
_REST: Final = 3
"""So many times as long as an audit took, the next one waits: what goes on beside it has three quarters of a core."""
_OPEN_SPANS: Final = 20_000
"""Traces come one after the other, so that few need to be open."""
_MOST_TRACES: Final = 5000
"""The newest so many of a service are searched for examples."""

_Chunks = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Audited:
    """`languages` are by service, as the spans of its SDK spell them; `at_ns` is when it was judged."""

    audit: Audit
    languages: Mapping[str, tuple[str, ...]]
    at_ns: int
    wholeness: Matrix

    def service(self, name: str) -> Service | None:
        return next((one for one in self.audit.services if one.service == name), None)


@dataclass
class Auditor:
    """Not for threads. Whoever looks is told of an audit that is newer than the one that was given."""

    store: TraceStore
    changes: Changes
    _last: Audited | None = None
    _judged: tuple[int, int] | None = None
    _next: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _later: asyncio.Task[None] | None = None

    def latest(self) -> Audited | None:
        """As `current`, without waiting: None where nothing was judged yet, of which whoever looks is told too."""
        if self._stale and self._later is None:
            self._later = asyncio.create_task(self._judge_later())
        return self._last

    async def current(self) -> Audited:
        """Of the spans that are here; where these have changed only a moment ago, of those a moment before."""
        if self._last is None:
            await self._judge()
        self.latest()
        assert self._last is not None  # noqa: S101 - _judge has just made it
        return self._last

    @property
    def last(self) -> Audit | None:
        """What the last audit found; None where nobody has asked for one yet, for it costs more than a page."""
        return self._last.audit if self._last else None

    async def examples(self, service: Service) -> tuple[Pair, ...]:
        """Pairs of a call in and the call out that should have stood in its trace, of a service that cuts."""
        held = [
            (one.trace_id, self.store.chunks(one.trace_id))
            for one in self.store.summaries()
            if any(name == service.service for name, _, _ in one.operations)
        ]
        return await asyncio.to_thread(lambda: pairs(_traces(held[:_MOST_TRACES]), service))

    @property
    def _state(self) -> tuple[int, int]:
        return self.store.counts.received, self.store.counts.dropped_spans

    @property
    def _stale(self) -> bool:
        return self._judged != self._state

    async def _judge_later(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            await self._judge()
        finally:
            self._later = None
        self.changes.tell()

    async def _judge(self) -> None:
        async with self._turn:
            if not self._stale:
                return
            began, state = time.monotonic(), self._state
            held = [(trace_id, self.store.chunks(trace_id)) for trace_id in self.store.ids()]
            self._last = await asyncio.to_thread(self._audited, held, time.time_ns())
            self._judged = state
            took = time.monotonic() - began
            self._next = began + took + max(PAUSE, _REST * took)

    def _audited(self, held: Iterable[tuple[str, _Chunks]], at_ns: int) -> Audited:
        # Late: numpy takes memory and a moment, which a store whose page nobody opens does not need.
        from grpc_tracing.audit.judge import judge  # noqa: PLC0415

        ledger = Ledger.holding(_OPEN_SPANS)
        languages: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for chunks in _by_trace(held):
            if self.changes.ended:  # the process waits for its threads
                break
            for chunk in chunks:
                spans = list(read_chunk(chunk))
                ledger.take(spans)
                if language := language_of(spans[0].resource):
                    languages[spans[0].service][language] = None
        ledger.close()
        audit = judge(ledger)
        named = {name: tuple(found) for name, found in languages.items()}
        return Audited(audit, named, at_ns, matrix(ledger, audit))


def _traces(held: Iterable[tuple[str, _Chunks]]) -> Iterator[list[Fact]]:
    for chunks in _by_trace(held):
        yield list(_once(span for chunk in chunks for span in read_chunk(chunk)))


def _once(spans: Iterable[Span]) -> Iterator[Fact]:
    """A span that was sent twice counts once."""
    seen = set()
    for span in spans:
        if (span.span_id, span.kind) not in seen:
            seen.add((span.span_id, span.kind))
            yield fact(span)


def _by_trace(held: Iterable[tuple[str, _Chunks]]) -> Iterator[list[bytes]]:
    """Together what shares the part of a trace id that every tracer tells."""
    together: defaultdict[str, list[bytes]] = defaultdict(list)
    for trace_id, chunks in held:
        together[trace_id[-NARROW:]] += chunks
    yield from together.values()
