"""Spans passed on to another backend: never waited for by whoever sends them, and none lost without being counted."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.spans.formats.otlp import Chunk, joined
from grpc_tracing.store.senders import LONGEST_PAUSE, Goal, NotNowError, Sender, TurnedAwayError, sender

WAITING: Final = 32 * 1024**2
"""Bytes of spans that wait at the most; the oldest go first, as in the store."""
_OVERHEAD: Final = 256
"""Bytes that Python keeps beside a chunk's own."""
_BATCH: Final = 1024**2
_COMPANY: Final = 0.2
"""Seconds that spans wait for others to go with."""
_FIRST_PAUSE: Final = 0.5
_LAST: Final = 1.0
"""Seconds for what is waiting, once the process is asked to end."""


@dataclass
class Forwarder:
    """Not for threads. `offer` never waits."""

    goal: Goal
    sent: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Spans by reason: `full`, `refused`, `rejected`, `ended`."""
    waiting: int = 0
    """Spans, with those that are under way."""
    failing: str = ""
    """Why nothing goes through at the moment."""
    _line: deque[Chunk] = field(default_factory=deque)
    _held: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, chunks: Iterable[Chunk]) -> None:
        """Takes the spans in line, and drops the oldest where there is no room."""
        for chunk in chunks:
            self._line.append(chunk)
            self._held += len(chunk.data) + _OVERHEAD
            self.waiting += chunk.spans
        while self._held > WAITING:
            self._drop("full", self._take().spans)
        self._done.clear()
        self._came.set()

    def state(self) -> dict[str, object]:
        """In numbers, for the pages and `/healthz`."""
        return {
            "to": self.goal.url,
            "sent": self.sent,
            "waiting": self.waiting,
            "dropped": dict(self.dropped),
            "failing": self.failing,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Passes on until the block ends, and then what is waiting still, for a moment."""
        to = sender(self.goal)
        task = asyncio.create_task(self._pass_on(to))
        try:
            yield
        finally:
            await self._end(task)
            await to.close()

    async def _end(self, task: asyncio.Task[None]) -> None:
        if self.waiting and not self.failing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), _LAST)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self.waiting:
            self._drop("ended", self.waiting)
            self._log("ended")

    async def _pass_on(self, to: Sender) -> None:
        while True:
            await self._came.wait()
            await asyncio.sleep(_COMPANY)
            self._came.clear()
            while self._line:
                await self._send(to, *self._batch())
            self._done.set()

    async def _send(self, to: Sender, body: bytes, spans: int) -> None:
        """Until it is taken, or refused for good."""
        pause = _FIRST_PAUSE
        while True:
            try:
                rejected = min(spans, await to.send(body))
            except TurnedAwayError as error:
                self._drop("refused", spans)
                self._say("failing", str(error))
                return
            except NotNowError as error:
                self._say("failing", str(error))
                await asyncio.sleep(max(error.wait, pause * random.uniform(0.5, 1)))  # noqa: S311 - no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._sent(spans, rejected)
                return

    def _sent(self, spans: int, rejected: int) -> None:
        self._drop("rejected", rejected)
        self.sent += spans - rejected
        self.waiting -= spans - rejected
        self._say("goes through again", "")

    def _drop(self, why: str, spans: int) -> None:
        if spans:
            self.dropped[why] += spans
            self.waiting -= spans

    def _batch(self) -> tuple[bytes, int]:
        """A request, and how many spans it holds."""
        chunks, size = [self._take()], 0
        while self._line and (size := size + len(chunks[-1].data)) < _BATCH:
            chunks.append(self._take())
        return joined(chunk.data for chunk in chunks), sum(chunk.spans for chunk in chunks)

    def _take(self) -> Chunk:
        chunk = self._line.popleft()
        self._held -= len(chunk.data) + _OVERHEAD
        return chunk

    def _say(self, event: str, failing: str) -> None:
        """In the log, where it has changed."""
        changed, self.failing = failing != self.failing, failing
        if changed:
            self._log(event)

    def _log(self, event: str) -> None:
        sys.stderr.write(json.dumps({"event": f"passing on: {event}", **self.state()}, ensure_ascii=False) + "\n")
