"""The request stream of a grpc.aio call that this process makes."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
from typing import Any, Final, TypeAlias

import grpc.aio

RequestStreamCall: TypeAlias = "grpc.aio.StreamUnaryCall[Any, Any] | grpc.aio.StreamStreamCall[Any, Any]"

ENDED: Final = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What sending raises once the call has ended; whoever reads the answers learns why it did."""


class RequestStream:
    """Sends serialized messages on `call`, which must have no request serializer.

    `call.write()` puts INTERNAL over the status of a call that its server ends meanwhile (grpc/grpc#36066, grpcio
    1.85), so messages go straight to gRPC's core. Where the call is not grpcio's own object, because an interceptor
    wraps it as auto-instrumentation does, the public way has to do: a status that comes in the middle of an upload may
    then be seen as INTERNAL.
    """

    def __init__(self, call: RequestStreamCall) -> None:
        self._call = call
        self._core: Any = getattr(call, "_cython_call", None)

    async def send(self, message: bytes) -> None:
        """Returns once gRPC takes the next message. Raises one of `ENDED` where the call has ended."""
        if self._core is None:
            await self._call.write(message)
        else:
            await self._core.send_serialized_message(message)

    async def begin(self) -> None:
        """Waits for the connection. Raises one of `ENDED` where the call has ended."""
        # A wrapped call may count as connected at its end only, with the requests that it waits for still unsent.
        if self._core is not None:
            await self._call.wait_for_connection()

    async def half_close(self) -> None:
        """Says that no more messages come."""
        await self._call.done_writing()
