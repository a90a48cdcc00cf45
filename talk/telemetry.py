"""Spans of the service's own, by OpenTelemetry's SDK, between the sidecar's two. Imported where TALK_OTEL is on.

Where they go, what they are called and how many are taken, the SDK reads from its own variables (OTEL_*).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation import grpc as instrumentation
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from talk.config import Identity
from talk.relay import SERVICES

_CLOSING: Final = 2.0
"""Seconds at most for the last spans: an exporter that nobody answers must not hold up the service's end."""


@dataclass(frozen=True)
class Telemetry:
    """Interceptors that make a span for each call taken and made, and the headers that the SDK writes on the latter."""

    server: list[grpc.aio.ServerInterceptor]
    client: list[grpc.aio.ClientInterceptor]
    keys: frozenset[str]


@contextmanager
def opened(identity: Identity) -> Iterator[Telemetry]:
    """An SDK that exports until the block ends, and the last spans after it."""
    provider = TracerProvider(resource=_resource(identity), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    interceptors: Any = instrumentation  # it has no types
    try:
        yield Telemetry(
            server=[interceptors.aio_server_interceptor(provider, _is_talk)],
            client=interceptors.aio_client_interceptors(provider),
            keys=frozenset(key.lower() for key in get_global_textmap().fields),
        )
    finally:
        closing = threading.Thread(target=provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSING)


def _is_talk(details: grpc.HandlerCallDetails) -> bool:
    """Not health checks, nor reflection: a span for each would be most of the spans."""
    return details.method.split("/")[1] in SERVICES


def _resource(identity: Identity) -> Resource:
    own = {
        "service.name": identity.service,
        "service.version": identity.version,
        "service.instance.id": identity.instance,
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())
