"""Spans in over OTLP's gRPC service."""

import asyncio

import grpc
from grpc import aio

from grpc_tracing.spans.formats.otlp import MalformedError, parse_protobuf
from grpc_tracing.store.bodies import MAX_BODY, WITHIN, RefusedError, too_long, too_slow
from grpc_tracing.store.receive import Receiver

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
# Enough for every sidecar of a mesh to export at once; together with MAX_BODY it bounds what arrives at once.
_MAX_CALLS = 64


class _Exporter:
    """The handler works on bytes, so that a body that does not parse is INVALID_ARGUMENT and counted.

    It reads the one request as a stream: only so does a call that gRPC refuses for its length reach it at all.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def export(self, _: object, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        try:
            body = await _body(context)
            self._receiver.read_bytes += len(body)
            return self._receiver.take(parse_protobuf(body)).SerializeToString()
        except (MalformedError, RefusedError) as error:
            self._receiver.refused["otlp_grpc"] += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


async def _body(context: "aio.ServicerContext[bytes, bytes]") -> bytes:
    try:
        body: object = await asyncio.wait_for(context.read(), WITHIN)
    except TimeoutError:
        raise too_slow() from None
    if isinstance(body, bytes):
        return body
    raise too_long()


def grpc_server(receiver: Receiver) -> aio.Server:
    """Not started, and bound to no port yet."""
    server = aio.server(
        options=[("grpc.max_receive_message_length", MAX_BODY), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=_MAX_CALLS,
    )
    export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_Exporter(receiver).export)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": export})])
    return server
