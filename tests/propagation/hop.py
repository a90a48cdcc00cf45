"""Hops of every kind in one process, each between its own port and the one last hop.

`python -m tests.propagation.hop LAST MODE` prints a line of JSON with a port for each kind. It imports nothing that an
environment with gRPC and an instrumentation lacks.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextvars
import importlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, Final

import grpc
import grpc.aio

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from grpc_tracing.propagation import aio, rule, sync

KINDS: Final = tuple(f"{server} {client}" for server in ("aio", "sync") for client in ("aio", "sync"))
"""API of the server, API of its client."""
OPTIONS: Final = [*LIMIT_OPTIONS, ("grpc.enable_http_proxy", 0)]
PATTERNS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Interceptors:
    """Those of one mode, for both APIs and both sides."""

    def __init__(self, aio_server: list[Any], aio_client: list[Any], server: list[Any], client: list[Any]) -> None:
        self.aio_server, self.aio_client, self.server, self.client = aio_server, aio_client, server, client

    def __add__(self, other: Interceptors) -> Interceptors:
        return Interceptors(
            self.aio_server + other.aio_server,
            self.aio_client + other.aio_client,
            self.server + other.server,
            self.client + other.client,
        )


def nothing() -> Interceptors:
    return Interceptors([], [], [], [])


def ours() -> Interceptors:
    own = rule(also=("x-tenant-bin",))
    return Interceptors(
        list(aio.server_interceptors()),
        list(aio.client_interceptors(own)),
        list(sync.server_interceptors()),
        list(sync.client_interceptors(own)),
    )


def by_hand() -> Interceptors:
    """As blogs have them: a dict in a context variable, and one class for all patterns."""
    kept: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("kept")
    listed = {"traceparent", "tracestate", "baggage", "x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}

    class AioServer(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            kept.set(dict(details.invocation_metadata))
            return await continuation(details)

    class Server(grpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            kept.set(dict(details.invocation_metadata))
            return continuation(details)

    def added(details: Any) -> Any:
        onward = [(key, value) for key, value in kept.get({}).items() if key in listed]
        return details._replace(metadata=[*(details.metadata or ()), *onward])

    class AioClient(
        grpc.aio.UnaryUnaryClientInterceptor,
        grpc.aio.UnaryStreamClientInterceptor,
        grpc.aio.StreamUnaryClientInterceptor,
        grpc.aio.StreamStreamClientInterceptor,
    ):
        async def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
            return await continuation(added(details), request)

        intercept_unary_unary = intercept_unary_stream = _intercept  # type: ignore[assignment]
        intercept_stream_unary = intercept_stream_stream = _intercept  # type: ignore[assignment]

    class Client(
        grpc.UnaryUnaryClientInterceptor,
        grpc.UnaryStreamClientInterceptor,
        grpc.StreamUnaryClientInterceptor,
        grpc.StreamStreamClientInterceptor,
    ):
        def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(added(details), request)

        intercept_unary_unary = intercept_unary_stream = _intercept  # type: ignore[assignment]
        intercept_stream_unary = intercept_stream_stream = _intercept  # type: ignore[assignment]

    return Interceptors([AioServer()], [AioClient()], [Server()], [Client()])


def opentelemetry() -> Interceptors:
    """Its interceptors, put in by hand; an SDK whose spans go nowhere."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    instrumentation = importlib.import_module("opentelemetry.instrumentation.grpc")
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    return Interceptors(
        [instrumentation.aio_server_interceptor()],
        instrumentation.aio_client_interceptors(),
        [instrumentation.server_interceptor()],
        [instrumentation.client_interceptor()],
    )


MODES: Final[dict[str, Callable[[], Interceptors]]] = {
    "ours": ours,
    "hand-made": by_hand,
    "nothing": nothing,
    "OpenTelemetry": opentelemetry,
    "ours, then OpenTelemetry": lambda: ours() + opentelemetry(),
    "OpenTelemetry, then ours": lambda: opentelemetry() + ours(),
}


def intercepted(channel: grpc.Channel, interceptors: Sequence[Any]) -> grpc.Channel:
    """The first interceptor is the outermost; OpenTelemetry's are of a kind of their own."""
    for interceptor in reversed(interceptors):
        if type(interceptor).__module__.startswith("opentelemetry."):
            own = importlib.import_module("opentelemetry.instrumentation.grpc.grpcext")
            channel = own.intercept_channel(channel, interceptor)
        else:
            channel = grpc.intercept_channel(channel, interceptor)
    return channel


class AioOnward:
    """Onward calls by grpc.aio, for handlers of either API."""

    def __init__(self, channel: grpc.aio.Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop

    async def call(self, pattern: str, request: bytes) -> list[bytes]:
        method: Any = getattr(self._channel, pattern)(f"/leaf/{pattern}")
        given = _stream(request) if pattern.startswith("stream") else request
        call = method(given, timeout=20)
        return [answer async for answer in call] if pattern.endswith("stream") else [await call]

    def call_blocking(self, pattern: str, request: bytes) -> list[bytes]:
        return asyncio.run_coroutine_threadsafe(self.call(pattern, request), self._loop).result(20)


class SyncOnward:
    """Onward calls by the synchronous API, for handlers of either."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    async def call(self, pattern: str, request: bytes) -> list[bytes]:
        return await asyncio.to_thread(self.call_blocking, pattern, request)

    def call_blocking(self, pattern: str, request: bytes) -> list[bytes]:
        method: Any = getattr(self._channel, pattern)(f"/leaf/{pattern}")
        call = method(iter([request, request]) if pattern.startswith("stream") else request, timeout=20)
        return list(call) if pattern.endswith("stream") else [call]


async def _stream(request: bytes) -> AsyncIterator[bytes]:
    yield request
    yield request


Onward = AioOnward | SyncOnward


def aio_handlers(onward: Onward) -> grpc.GenericRpcHandler:
    async def one(pattern: str, request: bytes) -> bytes:
        return (await onward.call(pattern, request))[0]

    async def unary_unary(request: bytes, _: object) -> bytes:
        return await one("unary_unary", request)

    async def unary_stream(request: bytes, _: object) -> AsyncIterator[bytes]:
        for answer in await onward.call("unary_stream", request):
            yield answer

    async def stream_unary(requests: AsyncIterator[bytes], _: object) -> bytes:
        return await one("stream_unary", await anext(aiter(requests)))

    async def stream_stream(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for request in requests:
            for answer in await onward.call("stream_stream", request):
                yield answer

    return _handler(unary_unary, unary_stream, stream_unary, stream_stream)


def sync_handlers(onward: Onward) -> grpc.GenericRpcHandler:
    def unary_unary(request: bytes, _: object) -> bytes:
        return onward.call_blocking("unary_unary", request)[0]

    def unary_stream(request: bytes, _: object) -> Iterator[bytes]:
        yield from onward.call_blocking("unary_stream", request)

    def stream_unary(requests: Iterator[bytes], _: object) -> bytes:
        return onward.call_blocking("stream_unary", next(requests))[0]

    def stream_stream(requests: Iterator[bytes], _: object) -> Iterator[bytes]:
        for request in requests:
            yield from onward.call_blocking("stream_stream", request)

    return _handler(unary_unary, unary_stream, stream_unary, stream_stream)


def _handler(one: Any, many: Any, all_: Any, each: Any) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "hop",
        {
            "unary_unary": grpc.unary_unary_rpc_method_handler(one),
            "unary_stream": grpc.unary_stream_rpc_method_handler(many),
            "stream_unary": grpc.stream_unary_rpc_method_handler(all_),
            "stream_stream": grpc.stream_stream_rpc_method_handler(each),
        },
    )


async def serve(last: str, mode: Interceptors) -> None:
    loop = asyncio.get_running_loop()
    onward: dict[str, Onward] = {
        "aio": AioOnward(grpc.aio.insecure_channel(last, options=OPTIONS, interceptors=mode.aio_client or None), loop),
        "sync": SyncOnward(intercepted(grpc.insecure_channel(last, options=OPTIONS), mode.client)),
    }
    ports, servers = {}, []
    for client, calls in onward.items():
        server: Any = grpc.aio.server(options=OPTIONS, interceptors=mode.aio_server or None)
        server.add_generic_rpc_handlers([aio_handlers(calls)])
        ports[f"aio {client}"] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        threaded: Any = grpc.server(futures.ThreadPoolExecutor(8), options=OPTIONS, interceptors=mode.server or None)
        threaded.add_generic_rpc_handlers([sync_handlers(calls)])
        ports[f"sync {client}"] = threaded.add_insecure_port("127.0.0.1:0")
        threaded.start()
        servers += [server, threaded]  # a server that nobody holds stops
    print(json.dumps(ports), flush=True)  # noqa: T201
    ended = asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], MODES[sys.argv[2]]()))
