"""Channels that auto-instrumentation has put its interceptors on, as opentelemetry-instrument and ddtrace-run do.

Two interceptors of our own, around the others, mend what goes wrong there (grpcio 1.85, ddtrace 4.16, OpenTelemetry's
0.66b2):

- A trace header that an instrumentation adds comes beside the one that is forwarded. The added one replaces it: its
  span is the parent now.
- Cancelling a wrapped call whose answer is one message cancels the interceptors, and the call on the wire goes on.
- grpcio's reading of a request iterator puts INTERNAL over a status that comes meanwhile (grpc/grpc#36066).
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final

import grpc.aio

from grpc_tracing.calling.metadata import OrderedMetadata, RepeatedKey
from grpc_tracing.calling.requests import ENDED, OwnStream, is_own
from grpc_tracing.headers.families import LISTS, Pair

Continuation = Callable[[Any, Any], Awaitable[Any]]

_LISTS: Final = tuple(
    f"_{kind}_interceptors" for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
)

_made: Final[ContextVar[list[Any]]] = ContextVar("calls made inside the interceptors")


def mend(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    """The channel, with our interceptors around those that it was given; one without stays as it is.

    Before any method is taken from it.
    """
    for name in _LISTS:
        if interceptors := getattr(channel, name, None):
            interceptors.insert(0, _Outermost())
            interceptors.append(_Innermost())
    return channel


class Forwarded(str):
    """A header's value that this process forwards, until it is known whether another replaces it."""

    __slots__ = ()


def marked(metadata: Iterable[Pair] | None) -> OrderedMetadata:
    pairs = list(metadata or ())
    last = {key: place for place, (key, _) in enumerate(pairs)}
    return OrderedMetadata(
        [_marked(key, value, is_last=last[key] == place) for place, (key, value) in enumerate(pairs)]
    )


def _marked(key: str, value: str | bytes, *, is_last: bool) -> Pair:
    """Of a list an instrumentation reads the last header, and so writes that one anew; those before it stay."""
    kept = key if is_last or key not in LISTS else RepeatedKey(key)
    return kept, Forwarded(value) if isinstance(value, str) else value


def replaced(metadata: Iterable[Pair] | None) -> OrderedMetadata:
    """What leaves: of a key that was added to, what was added alone."""
    pairs = [(key, value) for key, value in metadata or ()]
    added = {key for key, value in pairs if isinstance(value, str) and not isinstance(value, Forwarded)}
    return OrderedMetadata(
        [(key, value) for key, value in pairs if not (key in added and isinstance(value, Forwarded))]
    )


class _Outermost:
    """Marks what is forwarded, and cancels the call on the wire with the interceptors."""

    async def _intercept(self, continuation: Continuation, details: Any, request: Any) -> Any:
        made: list[Any] = []
        _made.set(made)
        try:
            return await continuation(details._replace(metadata=marked(details.metadata)), request)
        except asyncio.CancelledError:
            for call in made:
                call.cancel()
            raise

    intercept_unary_unary = intercept_unary_stream = _intercept
    intercept_stream_unary = intercept_stream_stream = _intercept


class _Innermost:
    """Replaces what was forwarded by what the others added, and sends the requests of a stream."""

    async def _intercept_one(self, continuation: Continuation, details: Any, request: Any) -> Any:
        call = await continuation(details._replace(metadata=replaced(details.metadata)), request)
        _made.get().append(call)
        return call

    async def _intercept_stream(self, continuation: Continuation, details: Any, requests: AsyncIterator[bytes]) -> Any:
        call = await self._intercept_one(continuation, details, None)
        sending = asyncio.create_task(_send(call, requests))
        call.add_done_callback(lambda _: sending.cancel())
        return call

    intercept_unary_unary = intercept_unary_stream = _intercept_one
    intercept_stream_unary = intercept_stream_stream = _intercept_stream


async def _send(call: Any, requests: AsyncIterator[bytes]) -> None:
    assert is_own(call), "the innermost interceptor gets grpcio's own call"  # noqa: S101
    with contextlib.suppress(*ENDED):
        stream = OwnStream(call)
        await stream.begin()
        async for request in requests:
            await stream.send(request)
        await stream.half_close()
