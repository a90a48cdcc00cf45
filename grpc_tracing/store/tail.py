"""Traces kept back for a while, as a tail sampler keeps them: nobody sees a trace before its time has passed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from grpc_tracing.spans.formats.otlp import Chunk
from grpc_tracing.store.store import TraceStore

_LOOK = 0.1


@dataclass(slots=True)
class _Held:
    due: float
    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0


class Tail:
    """Hands a trace to the store `wait` seconds after its first span came; at once where that is 0.

    What is held never exceeds what the store may hold: the oldest trace goes on early.
    """

    def __init__(self, store: TraceStore, wait: float) -> None:
        self._store = store
        self._wait = wait
        self._held: dict[str, _Held] = {}
        self._size = 0

    def add(self, chunks: Iterable[Chunk]) -> None:
        if not self._wait:
            self._store.add(chunks)
            return
        now = time.monotonic()
        for chunk in chunks:
            held = self._held.setdefault(chunk.trace_id, _Held(now + self._wait))
            held.chunks.append(chunk)
            held.size += len(chunk.data)
            self._size += len(chunk.data)
        self.release(now)

    def release(self, now: float) -> None:
        """Hands on what is due."""
        while self._held:
            trace_id, held = next(iter(self._held.items()))
            if held.due > now and self._size <= self._store.limits.size:
                return
            del self._held[trace_id]
            self._size -= held.size
            self._store.add(held.chunks)

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Hands on what is due, until the block ends."""
        task = asyncio.create_task(self._release())
        try:
            yield
        finally:
            task.cancel()

    async def _release(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self.release(time.monotonic())
