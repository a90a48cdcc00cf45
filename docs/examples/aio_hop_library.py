"""`aio_hop` with the library: interceptors pass the headers on, and no handler names them.

`python -m docs.examples.aio_hop_library` listens on TALK_LISTEN and calls TALK_NEXT_HOP.
"""

# ruff: noqa: N802  (the handlers' names are the contract's)

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import os
from collections.abc import AsyncIterator

import grpc

from docs.examples.aio_hop import Context, passing_back, whole
from grpc_tracing.propagation import aio, rule
from protos.landing_pb2 import TalkRequest, TalkResponse
from protos.landing_pb2_grpc import (
    LandingServiceServicer,
    LandingServiceStub,
    add_LandingServiceServicer_to_server,
)

OWN = ("x-lane", "end-user", "tenant-bin")  # your routing and business headers: yours to name


class LandingService(LandingServiceServicer):
    """The four handlers of a hop that has a next one."""

    def __init__(self, next_hop: LandingServiceStub) -> None:
        self._next_hop = next_hop

    async def Talk(self, request: TalkRequest, context: Context) -> TalkResponse:
        call = self._next_hop.Talk(request, timeout=context.time_remaining())
        async with passing_back(call, context):
            return await call

    async def TalkOneAnswerMore(self, request: TalkRequest, context: Context) -> AsyncIterator[TalkResponse]:
        call = self._next_hop.TalkOneAnswerMore(request, timeout=context.time_remaining())
        async with passing_back(call, context):
            async for response in call:
                yield response

    async def TalkMoreAnswerOne(self, requests: AsyncIterator[TalkRequest], context: Context) -> TalkResponse:
        sent = whole(requests, context, asyncio.current_task())
        call = self._next_hop.TalkMoreAnswerOne(sent, timeout=context.time_remaining())
        async with passing_back(call, context):
            return await call

    async def TalkBidirectional(
        self, requests: AsyncIterator[TalkRequest], context: Context
    ) -> AsyncIterator[TalkResponse]:
        sent = whole(requests, context, asyncio.current_task())
        call = self._next_hop.TalkBidirectional(sent, timeout=context.time_remaining())
        async with passing_back(call, context):
            async for response in call:
                yield response


def serve(channel: grpc.aio.Channel) -> grpc.aio.Server:
    server = grpc.aio.server(interceptors=aio.server_interceptors())
    add_LandingServiceServicer_to_server(LandingService(LandingServiceStub(channel)), server)
    server.add_insecure_port(os.environ["TALK_LISTEN"])
    return server


async def main() -> None:
    interceptors = aio.client_interceptors(rule(also=OWN))
    async with grpc.aio.insecure_channel(os.environ["TALK_NEXT_HOP"], interceptors=interceptors) as channel:
        server = serve(channel)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
