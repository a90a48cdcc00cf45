"""Connections over HTTP: idle ones are closed, and make room for new ones; requests beyond a bound are told so."""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# Each connection costs memory, and each request far more.
MOST_CONNECTIONS = 256
_MOST_REQUESTS = 256
# Seconds within which the head of a request must come, the first one's and each later one's.
HEAD_WITHIN = 10.0
# Answers, whatever else is going on: who watches the store asks it.
_HEALTH = "/healthz"


class Connection(H11Protocol):
    """uvicorn's, which by itself waits for the head of a request for ever, and counts idle connections as load."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._expect_head()
        super().on_response_complete()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits_until(self) -> float:
        """When the head of its next request is due, on the event loop's clock."""
        return self._head.when() if self._head else 0.0

    def _expect_head(self) -> None:
        self._expect_nothing()
        self._head = self.loop.call_later(HEAD_WITHIN, self._close, self.cycle)

    def _expect_nothing(self) -> None:
        if self._head:
            self._head.cancel()

    def _close(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last:
            self.transport.close()

    def _make_room(self) -> None:
        if len(self.connections) <= MOST_CONNECTIONS:
            return
        idle = [one for one in self.connections if isinstance(one, Connection) and one.idle and one is not self]
        if idle:
            min(idle, key=lambda one: one.waits_until).transport.abort()


class Bounded:
    """Answers 503 to requests that come while too many are under way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != _HEALTH and self._under_way >= _MOST_REQUESTS:
            await PlainTextResponse("too many requests at once\n", 503, {"Retry-After": "1"})(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
