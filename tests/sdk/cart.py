"""A service without a mesh, whose spans OpenTelemetry's SDK makes: each call in makes one call out, in a thread pool.

A pool's threads do not take over the caller's context, so its call out begins a trace, unless the handler hands it on.

    python -m tests.sdk.cart lost|kept STOCK OTLP

STOCK is the address called, OTLP the URL for spans. It prints its own address and serves until its input ends.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

Handler = Callable[[bytes, grpc.ServicerContext], bytes]
_RESOURCE = {"service.name": "cart", "service.instance.id": "cart-1"}


def main(context: str, stock: str, otlp: str) -> None:
    spans = TracerProvider(resource=Resource.create(_RESOURCE))
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(otlp), schedule_delay_millis=200))
    with grpc.insecure_channel(stock, [("grpc.enable_http_proxy", 0)]) as plain, ThreadPoolExecutor(16) as pool:
        channel = intercept_channel(plain, client_interceptor(tracer_provider=spans))  # type: ignore[no-untyped-call]
        take: Callable[[bytes], bytes] = channel.unary_unary("/shop.Stock/Take")
        get = _lost(pool, take) if context == "lost" else _kept(pool, take)
        _serve(get, spans)
    spans.shutdown()


def _lost(pool: ThreadPoolExecutor, take: Callable[[bytes], bytes]) -> Handler:
    return lambda request, _: pool.submit(take, request).result()


def _kept(pool: ThreadPoolExecutor, take: Callable[[bytes], bytes]) -> Handler:
    return lambda request, _: pool.submit(contextvars.copy_context().run, take, request).result()


def _serve(get: Handler, spans: TracerProvider) -> None:
    server = grpc.server(ThreadPoolExecutor(16), interceptors=[server_interceptor(tracer_provider=spans)])  # type: ignore[no-untyped-call]
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Get": grpc.unary_unary_rpc_method_handler(get)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Cart", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(5).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
