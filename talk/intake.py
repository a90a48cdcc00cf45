"""How many requests may be on their way in at once: each may grow to a whole message before its end comes."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
from typing import Any, Final

import grpc

from talk.relay import Context, next_request

MOST_AT_ONCE: Final = 24
"""Requests that are read at once. Of any other, gRPC holds no more than an HTTP/2 window, 64 KiB."""
_TICK: Final = 0.25
_PATIENCE: Final = 4
"""Ticks that a request may take while others wait for its place; a usual one has come before it is read."""


class Intake:
    """Reads the one request of a call, while not too many others are being read.

    A caller that does not end its message keeps its place until somebody needs it. Ticks, not times: a process that was
    paused finds what has come meanwhile before it counts on.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._waiting = 0
        self._reading: dict[asyncio.Task[Any], int] = {}
        """Since which tick, the longest first."""
        self._refused: set[asyncio.Task[Any]] = set()
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    async def request(self, context: Context) -> bytes:
        """The call's request; where none comes, or not in time, the call is aborted."""
        await self._place()
        try:
            request = await self._read(context)
        finally:
            self._places.release()
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "the call ended without a request")
        return request

    async def _place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        self._waiting += 1
        if self._timer is None:
            self._count_on()
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    async def _read(self, context: Context) -> bytes | None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (for the type: gRPC calls handlers in tasks)
        self._reading[task] = self._ticks
        try:
            return await next_request(context)
        except asyncio.CancelledError:
            if task not in self._refused:
                raise
            task.uncancel()
            return await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the request did not end, and others waited")
        finally:
            del self._reading[task]
            self._refused.discard(task)

    def _count_on(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        self._ticks += 1
        overdue = [task for task, since in self._reading.items() if self._ticks - since >= _PATIENCE]
        for task in overdue[: self._waiting]:
            self._refused.add(task)
            task.cancel()
        self._count_on()
