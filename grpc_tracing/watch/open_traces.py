"""Traces that may still grow: each is handed on once no span of it came for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.audit.facts import Fact
from grpc_tracing.audit.traces import Key, key_of, trace_of

SPAN_BYTES: Final = 900
"""What an open span takes at the most common lengths of ids, measured with tracemalloc (tests/watch/test_bounds.py)."""
_LONGEST: Final = 10_000
"""Spans of one trace, which a tracer that never changes its trace id would fill the memory with."""


@dataclass(slots=True)
class _Trace:
    changed: float
    spans: dict[Key, Fact] = field(default_factory=dict)


@dataclass
class Settling:
    """`wait` in seconds, on any clock that goes on; at most `limit` spans are held.

    `early` counts the traces that were handed on sooner, for room or for their length.
    """

    wait: float
    limit: int
    spans: int = 0
    early: int = 0
    _open: OrderedDict[str, _Trace] = field(default_factory=OrderedDict)
    _ready: list[list[Fact]] = field(default_factory=list)

    def take(self, one: Fact, now: float) -> bool:
        """False where the same span came before: it counts once."""
        key = trace_of(one)
        trace = self._open.get(key)
        if trace is None:
            trace = self._open[key] = _Trace(now)
        else:
            trace.changed = now
            self._open.move_to_end(key)
        own = key_of(one)
        if own in trace.spans:
            return False
        trace.spans[own] = one
        self.spans += 1
        if len(trace.spans) >= _LONGEST:
            self._end(key)
        return True

    def settled(self, now: float) -> Iterator[list[Fact]]:
        """The traces that are whole by now, and those for which there is no room."""
        while self._ready:
            yield self._given(self._ready.pop())
        while self._open:
            first = next(iter(self._open))
            due = self._open[first].changed + self.wait <= now
            if not due and self.spans <= self.limit:
                return
            self.early += not due
            yield self._given(list(self._open.pop(first).spans.values()))

    def _end(self, key: str) -> None:
        self.early += 1
        self._ready.append(list(self._open.pop(key).spans.values()))

    def _given(self, trace: list[Fact]) -> list[Fact]:
        self.spans -= len(trace)
        return trace
