"""Spans in over OTLP's gRPC service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
from grpc import aio

from grpc_tracing.spans.formats.otlp import MalformedError, parse_protobuf
from grpc_tracing.store.bodies import MAX_BODY, WITHIN, RefusedError, too_slow
from grpc_tracing.store.receive import GONE, OTLP_GRPC, Reason, Receiver, reason_of

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
# Enough for every sidecar of a mesh to export at once; together with MAX_BODY it bounds what arrives at once.
_MAX_READ: Final = 64
# A call that waits to be read takes some 20 kB, and what its sender may send unasked.
_MAX_CALLS: Final = 500
# gRPC accepts a call in some rounds of the event loop. Were each round spent on taking spans, calls would wait where
# nobody counts them: so often, in seconds, there are some rounds for nothing else, while calls come.
_LET_IN_EVERY: Final = 0.02
_ROUND, _ROUNDS = 0.001, 5
# Seconds. After 30 gRPC would end a call that waits to be accepted, with CANCELLED and without a word to us: its
# sender's own deadline is to come first.
_UNACCEPTED: Final = 3600


class _Exporter:
    """The handler works on bytes, so that a body that does not parse is INVALID_ARGUMENT and counted.

    It reads the one request as a stream: only so does a call that gRPC refuses for its length reach it at all.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._came = 0
        self._calls = 0
        self._let_in_at = 0.0
        self._reading = asyncio.Semaphore(_MAX_READ)
        self._turn = asyncio.Lock()

    async def export(self, _: object, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        self._came += 1
        try:
            async with self._place(), self._reading:
                body = await _body(context)
                async with self._turn:
                    await self._let_in()
                    return self._take(body)
        except (MalformedError, RefusedError) as error:
            reason = reason_of(error)
            self._receiver.refuse(OTLP_GRPC, reason)
            code = grpc.StatusCode.UNAVAILABLE if reason is Reason.BUSY else grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(code, str(error))
        except asyncio.CancelledError:
            self._receiver.refuse(OTLP_GRPC, Reason.GONE)
            raise

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._calls >= _MAX_CALLS:
            raise RefusedError(503, f"{_MAX_CALLS} calls wait to be read; try again in a second")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _let_in(self) -> None:
        """Others wait for this one: first, those that nobody has accepted are."""
        loop = asyncio.get_running_loop()
        if self._calls == 1 or loop.time() < self._let_in_at:
            return
        came = -1
        for _ in range(_ROUNDS):
            if came == self._came:
                break
            came = self._came
            await asyncio.sleep(_ROUND)
        self._let_in_at = loop.time() + _LET_IN_EVERY

    def _take(self, body: bytes) -> bytes:
        self._receiver.read_bytes += len(body)
        return self._receiver.take(parse_protobuf(body)).SerializeToString()


async def _body(context: "aio.ServicerContext[bytes, bytes]") -> bytes:
    try:
        body: object = await asyncio.wait_for(context.read(), WITHIN)
    except TimeoutError:
        raise too_slow() from None
    if isinstance(body, bytes):
        return body
    # Core ends both kinds alike.
    raise RefusedError(GONE, f"no whole body came: its sender gave up, or it is longer than {MAX_BODY // 1024**2} MiB")


def grpc_server(receiver: Receiver) -> aio.Server:
    """Not started, and bound to no port yet."""
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_BODY),
            ("grpc.server_max_unrequested_time_in_server", _UNACCEPTED),
            ("grpc.so_reuseport", 0),
        ],
    )
    export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_Exporter(receiver).export)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": export})])
    return server
