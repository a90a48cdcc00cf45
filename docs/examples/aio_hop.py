"""A hop in grpc.aio with generated stubs: it calls the next one with the headers and the time that it was given.

`python -m docs.examples.aio_hop` listens on TALK_LISTEN and calls TALK_NEXT_HOP.
"""

# ruff: noqa: N802  (the handlers' names are the contract's)

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc

from docs.examples.propagation import onward
from protos.landing_pb2 import TalkRequest, TalkResponse
from protos.landing_pb2_grpc import (
    LandingServiceServicer,
    LandingServiceStub,
    add_LandingServiceServicer_to_server,
)

Context: TypeAlias = "grpc.aio.ServicerContext[TalkRequest, TalkResponse]"


class LandingService(LandingServiceServicer):
    """The four handlers of a hop that has a next one."""

    def __init__(self, next_hop: LandingServiceStub) -> None:
        self._next_hop = next_hop

    async def Talk(self, request: TalkRequest, context: Context) -> TalkResponse:
        call = self._next_hop.Talk(
            request, metadata=onward(context.invocation_metadata()), timeout=context.time_remaining()
        )
        async with passing_back(call, context):
            return await call

    async def TalkOneAnswerMore(self, request: TalkRequest, context: Context) -> AsyncIterator[TalkResponse]:
        call = self._next_hop.TalkOneAnswerMore(
            request, metadata=onward(context.invocation_metadata()), timeout=context.time_remaining()
        )
        async with passing_back(call, context):
            async for response in call:
                yield response

    async def TalkMoreAnswerOne(self, requests: AsyncIterator[TalkRequest], context: Context) -> TalkResponse:
        call = self._next_hop.TalkMoreAnswerOne(
            whole(requests, context, asyncio.current_task()),
            metadata=onward(context.invocation_metadata()),
            timeout=context.time_remaining(),
        )
        async with passing_back(call, context):
            return await call

    async def TalkBidirectional(
        self, requests: AsyncIterator[TalkRequest], context: Context
    ) -> AsyncIterator[TalkResponse]:
        call = self._next_hop.TalkBidirectional(
            whole(requests, context, asyncio.current_task()),
            metadata=onward(context.invocation_metadata()),
            timeout=context.time_remaining(),
        )
        async with passing_back(call, context):
            async for response in call:
                yield response


async def whole(
    requests: AsyncIterator[TalkRequest], context: Context, handler: asyncio.Task[Any] | None
) -> AsyncIterator[TalkRequest]:
    """The requests; raises where they were cut, and gRPC then cancels the onward call.

    gRPC ends a stream that was cut like a complete one, and cancels the handler a moment later. Half-closed meanwhile,
    the onward call would be taken for a complete, shorter one. The cancellation comes before a further read returns.
    """
    async for request in requests:
        yield request
    await context.read()
    if handler is not None and handler.cancelling():
        raise asyncio.CancelledError


@contextlib.asynccontextmanager
async def passing_back(call: grpc.aio.Call, context: Context) -> AsyncIterator[None]:
    """Ends the onward call with the incoming one; its status and trailers go back unchanged.

    An AioRpcError that leaves a handler uncaught turns every status into UNKNOWN.
    """
    try:
        yield
        context.set_trailing_metadata(tuple(await call.trailing_metadata()))
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata()))
    finally:
        call.cancel()


def cancelled_with_its_task(call: Any) -> Any:
    """The onward call, which a cancelled handler ends under auto-instrumentation too.

    The interceptors of that await the end of a call with one answer; cancelled meanwhile, they leave it running.
    """
    if interceptors := asyncio.current_task():
        interceptors.add_done_callback(lambda ended: ended.cancelled() and call.cancel())
    return call


class CancelledUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return cancelled_with_its_task(await continuation(client_call_details, request))


class CancelledUpload(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return cancelled_with_its_task(await continuation(client_call_details, request_iterator))


async def main() -> None:
    interceptors = (CancelledUnary(), CancelledUpload())
    async with grpc.aio.insecure_channel(os.environ["TALK_NEXT_HOP"], interceptors=interceptors) as channel:
        server = grpc.aio.server()
        add_LandingServiceServicer_to_server(LandingService(LandingServiceStub(channel)), server)
        server.add_insecure_port(os.environ["TALK_LISTEN"])
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
