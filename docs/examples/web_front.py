"""A web server in front of a gRPC client: Starlette here, and FastAPI, which is built on it, takes the same middleware.

`uvicorn docs.examples.web_front:app --factory` calls TALK_NEXT_HOP for each GET /talk.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import contextlib
import os
from collections.abc import AsyncIterator

import grpc.aio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grpc_tracing.propagation import aio, serving
from protos.landing_pb2 import TalkRequest
from protos.landing_pb2_grpc import LandingServiceStub


class Propagation:
    """ASGI middleware: calls that a request makes carry its headers, in handlers that await and in threads alike."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pairs = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in scope.get("headers", ())]
        with serving([pair for pair in pairs if not pair[0].endswith("-bin")]):  # those are gRPC's own
            await self._app(scope, receive, send)


async def talk(request: Request) -> PlainTextResponse:
    answer = await request.app.state.next_hop.Talk(TalkRequest(data="0"), timeout=5)
    return PlainTextResponse(str(answer.status))


@contextlib.asynccontextmanager
async def _connected(application: Starlette) -> AsyncIterator[None]:
    interceptors = aio.client_interceptors()
    async with grpc.aio.insecure_channel(os.environ["TALK_NEXT_HOP"], interceptors=interceptors) as channel:
        application.state.next_hop = LandingServiceStub(channel)
        yield


def app() -> Starlette:
    return Starlette(routes=[Route("/talk", talk)], middleware=[Middleware(Propagation)], lifespan=_connected)
