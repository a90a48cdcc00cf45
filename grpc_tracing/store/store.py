"""The bounded memory: traces by id, the oldest dropped first, what was dropped counted."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from grpc_tracing.spans.formats.otlp import Chunk, read_chunk
from grpc_tracing.spans.tree import Trace, assemble
from grpc_tracing.store.summary import Summary, summarize

# What Python keeps beside the spans' own bytes, measured with tracemalloc: the entry with its dictionary slots, the
# trace's status and its rows in the pages' columns, and per span the bytes object and its share of the summary.
TRACE_OVERHEAD = 3072
SPAN_OVERHEAD = 448
# Traces summarized without a break.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What the store holds at most. `size` is in bytes and counts the spans as kept plus the overheads above."""

    traces: int = 10_000
    size: int = 128 * 1024**2
    spans_per_trace: int = 10_000


@dataclass(slots=True)
class Counts:
    """Since the start: spans taken in, whole traces and spans that made room, spans that came too late or too many."""

    received: int = 0
    dropped_traces: int = 0
    dropped_spans: int = 0


@dataclass(slots=True)
class _Entry:
    chunks: list[bytes] = field(default_factory=list)
    spans: int = 0
    size: int = TRACE_OVERHEAD
    cut: bool = False
    changed_ns: int = 0
    summary: Summary | None = None


class TraceStore:
    """Not for threads: everything happens on the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.counts = Counts()
        self.size = 0
        self.spans = 0
        self.lost_ns = 0
        """When the last span came of a dropped trace that may be a piece of another call, Unix ns; 0: none was."""
        self._entries: dict[str, _Entry] = {}
        self._dropped: dict[str, None] = {}
        self._unsettled: dict[str, None] = {}
        self._watchers: list[Callable[[], None]] = []
        self._followers: list[tuple[Callable[[Summary], None], Callable[[str], None]]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Called after each addition."""
        self._watchers.append(watcher)

    def follow(self, taken: Callable[[Summary], None], dropped: Callable[[str], None]) -> None:
        """`taken` gets each summary that is made, `dropped` the id of each trace that is no longer kept."""
        self._followers.append((taken, dropped))

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Takes the spans in and makes room for them."""
        for chunk in chunks:
            self.counts.received += chunk.spans
            if not self._take(chunk):
                self.counts.dropped_spans += chunk.spans
            self._make_room()
        for watcher in self._watchers:
            watcher()

    def _take(self, chunk: Chunk) -> bool:
        # A late span of a dropped trace would come back as a trace with a missing parent.
        if chunk.trace_id in self._dropped:
            return False
        entry = self._entries.get(chunk.trace_id) or _Entry()
        size = len(chunk.data) + chunk.spans * SPAN_OVERHEAD
        entry.summary = None
        if entry.spans + chunk.spans > self.limits.spans_per_trace or entry.size + size > self.limits.size:
            entry.cut = True
            return False
        if chunk.trace_id not in self._entries:
            self._entries[chunk.trace_id] = entry
            self.size += entry.size
        self._unsettled[chunk.trace_id] = None
        self._grow(entry, chunk, size)
        return True

    def _grow(self, entry: _Entry, chunk: Chunk, size: int) -> None:
        entry.chunks.append(chunk.data)
        entry.changed_ns = time.time_ns()
        entry.spans += chunk.spans
        entry.size += size
        self.spans += chunk.spans
        self.size += size

    def _make_room(self) -> None:
        while len(self._entries) > self.limits.traces or (self.size > self.limits.size and self._entries):
            trace_id = next(iter(self._entries))
            entry = self._entries.pop(trace_id)
            self._unsettled.pop(trace_id, None)
            self.spans -= entry.spans
            self.size -= entry.size
            self.counts.dropped_traces += 1
            self.counts.dropped_spans += entry.spans
            if entry.summary is None or entry.summary.calls.begun:
                self.lost_ns = max(self.lost_ns, entry.changed_ns)
            self._remember_dropped(trace_id)
            for _, dropped in self._followers:
                dropped(trace_id)

    def _remember_dropped(self, trace_id: str) -> None:
        self._dropped[trace_id] = None
        if len(self._dropped) > max(len(self._entries), 1):
            del self._dropped[next(iter(self._dropped))]

    def chunks(self, trace_id: str) -> tuple[bytes, ...]:
        """Each a serialized `ResourceSpans`; none where the trace is not here."""
        entry = self._entries.get(trace_id)
        return tuple(entry.chunks) if entry else ()

    def ids(self) -> tuple[str, ...]:
        """Of all traces, the oldest first."""
        return tuple(self._entries)

    def trace(self, trace_id: str) -> Trace | None:
        """The assembled trace, or None where it is not here."""
        chunks = self.chunks(trace_id)
        return read_trace(chunks) if chunks else None

    def summaries(self) -> Iterator[Summary]:
        """Of every trace, the newest first."""
        for trace_id in reversed(self._entries):
            yield self._summary(trace_id)

    def settle(self, at_most: int) -> bool:
        """Summarizes up to so many traces that changed, the oldest change first; False when none is left.

        Summaries cost far more than taking spans in: done bit by bit in the background, no page waits for thousands.
        """
        for trace_id in tuple(islice(self._unsettled, at_most)):
            self._summary(trace_id)
        return bool(self._unsettled)

    def _summary(self, trace_id: str) -> Summary:
        entry = self._entries[trace_id]
        self._unsettled.pop(trace_id, None)
        if entry.summary is None:
            entry.summary = summarize(read_trace(entry.chunks), changed_ns=entry.changed_ns, cut=entry.cut)
            for taken, _ in self._followers:
                taken(entry.summary)
        return entry.summary


async def settled(store: TraceStore) -> None:
    """Summarizes all that changed, in bites of a few milliseconds."""
    more = True
    while more:
        more = store.settle(_AT_ONCE)
        await asyncio.sleep(0)


def read_trace(chunks: Iterable[bytes]) -> Trace:
    """Of at least one chunk."""
    return assemble(span for chunk in chunks for span in read_chunk(chunk))
