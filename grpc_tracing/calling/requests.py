"""The request stream of a grpc.aio call that this process makes."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Protocol, TypeAlias, overload

import grpc.aio

StreamUnaryMethod: TypeAlias = "grpc.aio.StreamUnaryMultiCallable[bytes, bytes]"
StreamStreamMethod: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"
StreamUnaryCall: TypeAlias = "grpc.aio.StreamUnaryCall[bytes, bytes]"
StreamStreamCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

ENDED: Final = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What sending raises once the call has ended; whoever reads the answers learns why it did."""


class RequestStream(Protocol):
    """Sends the serialized messages of one call."""

    async def begin(self) -> None:
        """Waits for the connection. Raises one of `ENDED` where the call has ended."""

    async def send(self, message: bytes) -> None:
        """Returns once gRPC takes the next message. Raises one of `ENDED` where the call has ended."""

    async def half_close(self) -> None:
        """Says that no more messages come."""


@overload
def start(
    method: StreamUnaryMethod, *, metadata: grpc.aio.Metadata, timeout: float | None
) -> tuple[StreamUnaryCall, RequestStream]: ...
@overload
def start(
    method: StreamStreamMethod, *, metadata: grpc.aio.Metadata, timeout: float | None
) -> tuple[StreamStreamCall, RequestStream]: ...
def start(
    method: StreamUnaryMethod | StreamStreamMethod, *, metadata: grpc.aio.Metadata, timeout: float | None
) -> tuple[Any, RequestStream]:
    """Begins a call and gives the stream of its requests; `method` must have no request serializer."""
    call = method(metadata=metadata, timeout=timeout)
    if is_own(call):
        return call, OwnStream(call)
    # A call that interceptors wrap (grpcio 1.85) takes no message before they are done, and those of
    # auto-instrumentation wait for the call's end: only an iterator gets through. This call has not begun.
    call.cancel()
    requests = WrappedStream()
    call = method(requests.messages(), metadata=metadata, timeout=timeout)
    call.add_done_callback(requests.end)
    return call, requests


async def send_all(stream: RequestStream, messages: Iterable[bytes]) -> None:
    """Sends `messages` and half-closes. Ends quietly where the call has ended: its answer says why."""
    with contextlib.suppress(*ENDED):
        await stream.begin()
        for message in messages:
            await stream.send(message)
        await stream.half_close()


def is_own(call: object) -> bool:
    """Whether `call` is grpcio's own object, not one that interceptors wrap."""
    return hasattr(call, "_cython_call")


class OwnStream:
    """On grpcio's own call.

    `call.write()` puts INTERNAL over the status of a call that its server ends meanwhile (grpc/grpc#36066, grpcio
    1.85), so messages go straight to gRPC's core.
    """

    def __init__(self, call: Any) -> None:
        self._call = call

    async def begin(self) -> None:
        await self._call.wait_for_connection()

    async def send(self, message: bytes) -> None:
        await self._call._cython_call.send_serialized_message(message)

    async def half_close(self) -> None:
        await self._call.done_writing()


class WrappedStream:
    """On a call that interceptors wrap: they, or grpcio, take the messages from an iterator.

    Where grpcio takes them, a status that comes in the middle of an upload may be seen as INTERNAL, as with
    `call.write()`. On the channels of calling.instrumented our own interceptor takes them.
    """

    def __init__(self) -> None:
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            yield message

    def end(self, _: object) -> None:
        """The call has ended: nobody takes messages any more."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def begin(self) -> None:
        """Does not wait: a wrapped call may count as connected at its end only."""

    async def send(self, message: bytes) -> None:
        await self._put(message)

    async def half_close(self) -> None:
        await self._put(None)

    async def _put(self, message: bytes | None) -> None:
        putting = asyncio.ensure_future(self._messages.put(message))
        try:
            await asyncio.wait((putting, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise asyncio.InvalidStateError("the call has ended")
        finally:
            putting.cancel()
