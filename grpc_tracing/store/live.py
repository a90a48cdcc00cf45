"""Server-sent events: pages hear that something changed, and fetch themselves again."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from grpc_tracing.store.trace_status import ARRIVING_NS

# Listeners at once; every open page is one.
_MOST = 100
# At most this often, in seconds, however many spans come in.
_PAUSE = 0.5
# A line now and then, in seconds, so that proxies keep the connection and a gone listener is noticed.
_HEARTBEAT = 15


class Changes:
    """Tells listeners of changes; once more after a while, when a trace counts as arriving no longer."""

    def __init__(self) -> None:
        self._version = 0
        self._listening = 0
        self._moved = asyncio.Event()
        self._ended = False
        self._echo: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        """Something changed."""
        if self._echo:
            self._echo.cancel()
        self._echo = asyncio.get_running_loop().call_later(ARRIVING_NS / 1e9 + 0.1, self._move)
        self._move()

    def end(self) -> None:
        """Ends every stream."""
        self._ended = True
        if self._echo:
            self._echo.cancel()
        self._moved.set()

    @property
    def ended(self) -> bool:
        return self._ended

    def _move(self) -> None:
        self._version += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def stream(self, _: Request) -> Response:
        """`GET /events`."""
        if self._listening >= _MOST:
            return PlainTextResponse("too many pages are open; close some\n", 503)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        self._listening += 1
        try:
            yield "retry: 1000\n\n"
            seen = self._version
            while not self._ended:
                if seen == self._version and not await self._wait():
                    yield ": still here\n\n"
                elif seen != self._version:
                    seen = self._version
                    yield f"event: change\ndata: {seen}\n\n"
                    await asyncio.sleep(_PAUSE)
        finally:
            self._listening -= 1

    async def _wait(self) -> bool:
        try:
            await asyncio.wait_for(self._moved.wait(), _HEARTBEAT)
        except TimeoutError:
            return False
        return True
