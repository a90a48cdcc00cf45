"""The requester's own root spans, through the OpenTelemetry SDK and its OTLP exporter."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from client.call.context import TraceContext
from client.call.outcome import Outcome
from client.call.rpc import SERVICE
from grpc_tracing.backends.jaeger import is_local
from grpc_tracing.evidence.picture import REQUESTER

_LIMIT = 2.0  # seconds that a check or an export may cost


class Roots:
    """Root spans, kept until `export` sends them all: one POST, and its answer is known."""

    def __init__(self, endpoint: str, target: str) -> None:
        self._url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
        session = requests.Session()
        session.trust_env = not is_local(endpoint)
        self._exporter = OTLPSpanExporter(self._url, timeout=_LIMIT, session=session)
        self._ended = InMemorySpanExporter()
        resource = Resource.create({SERVICE_NAME: REQUESTER})
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self._tracer = provider.get_tracer("client")
        self._target = target

    async def answers(self) -> bool:
        """True where the endpoint listens, and takes spans, asked with none; each costs 2 s at most."""
        return await _promptly(self._listens) and await self._send()

    def _listens(self) -> bool:
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with contextlib.suppress(OSError):
            socket.create_connection((parts.hostname, port), _LIMIT).close()
            return True
        return False

    def begin(self, rpc: str) -> Span:
        """Starts the root span of a call; `end` must follow."""
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": SERVICE,
            "rpc.method": rpc,
            "server.address": self._target,
            "talk.rpc": rpc,
        }
        return self._tracer.start_span(rpc, context=Context(), kind=SpanKind.CLIENT, attributes=attributes)

    @staticmethod
    def context_of(span: Span) -> TraceContext:
        """What a call sends on, so that its spans stand below this one."""
        ids = span.get_span_context()
        return TraceContext(f"{ids.trace_id:032x}", f"{ids.span_id:016x}")

    @staticmethod
    def end(span: Span, outcome: Outcome, code: int) -> None:
        """Ends a call's root span with what became of it."""
        span.set_attribute("rpc.grpc.status_code", code)
        span.set_attribute("talk.request_id", next(str(value) for key, value in outcome.sent if key == "x-request-id"))
        if outcome.status != "OK":
            span.set_status(Status(StatusCode.ERROR, outcome.message or outcome.status))
        span.end()

    async def export(self) -> bool:
        """Sends the ended spans; True where they were taken. Costs 2 s at most."""
        return await self._send()

    async def _send(self) -> bool:
        spans = self._ended.get_finished_spans()
        return await _promptly(lambda: self._exporter.export(spans) is SpanExportResult.SUCCESS)


async def _promptly(work: Callable[[], bool]) -> bool:
    """Runs `work` in a thread that nobody waits for past the limit, also not at exit: False then."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool] = loop.create_future()

    def deliver(value: bool) -> None:
        if not result.done():
            result.set_result(value)

    def run() -> None:
        value = work()
        with contextlib.suppress(RuntimeError):  # too late: the loop is closed
            loop.call_soon_threadsafe(deliver, value)

    threading.Thread(target=run, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT):
            return await result
    return False
