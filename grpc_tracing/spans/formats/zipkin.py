"""Zipkin v2 JSON, read as OTLP: what Envoy's Zipkin tracer sends, and any other B3 tracer.

The mapping is OpenTelemetry's own for Zipkin (its specification, trace/sdk_exporters/zipkin), read backwards.
"""

import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from grpc_tracing.spans.formats.otlp import WRONG_SHAPE, MalformedError, is_valid

V1 = "this is Zipkin's format of version 1; send version 2, to POST /api/v2/spans"
_KINDS = {
    "CLIENT": Span.SPAN_KIND_CLIENT,
    "SERVER": Span.SPAN_KIND_SERVER,
    "PRODUCER": Span.SPAN_KIND_PRODUCER,
    "CONSUMER": Span.SPAN_KIND_CONSUMER,
}


def parse(body: bytes) -> ExportTraceServiceRequest:
    """A list of Zipkin v2 spans as an OTLP request, a resource per span. Raises MalformedError."""
    try:
        document = json.loads(body)
    except WRONG_SHAPE as error:
        raise _malformed(error) from error
    return from_document(document)


def from_document(document: Any) -> ExportTraceServiceRequest:
    """The same, parsed already. Raises MalformedError."""
    request = ExportTraceServiceRequest()
    try:
        for span in _list(document):
            _refuse_v1(span)
            _add(request, span)
    except MalformedError:
        raise
    except WRONG_SHAPE as error:
        raise _malformed(error) from error
    return request


def _malformed(error: Exception) -> MalformedError:
    return MalformedError(f"the body is no list of Zipkin v2 spans: {type(error).__name__}: {error}")


def _list(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, list):
        raise TypeError(f"the top is a {type(document).__name__}, not a list")
    return document


def _refuse_v1(span: dict[str, Any]) -> None:
    """Version 1 keeps kind, service and tags in its annotations: read as version 2, all of that would be lost."""
    annotations = span.get("annotations") or ()
    if "binaryAnnotations" in span or any("endpoint" in annotation for annotation in annotations):
        raise MalformedError(V1)


def _add(request: ExportTraceServiceRequest, zipkin: dict[str, Any]) -> None:
    resource = request.resource_spans.add()
    service = (zipkin.get("localEndpoint") or {}).get("serviceName") or "unknown"
    resource.resource.attributes.append(_text("service.name", service))
    resource.scope_spans.add().spans.append(_span(zipkin))


def _span(zipkin: dict[str, Any]) -> Span:
    start = int(zipkin.get("timestamp") or 0) * 1000
    tags = {key: _written(value) for key, value in (zipkin.get("tags") or {}).items()}
    span = Span(
        trace_id=bytes.fromhex(zipkin["traceId"].zfill(32)),
        span_id=bytes.fromhex(zipkin["id"].zfill(16)),
        parent_span_id=bytes.fromhex(zipkin["parentId"].zfill(16)) if zipkin.get("parentId") else b"",
        name=zipkin.get("name") or "",
        kind=_KINDS.get(zipkin.get("kind", ""), Span.SPAN_KIND_INTERNAL),
        start_time_unix_nano=start,
        end_time_unix_nano=start + int(zipkin.get("duration") or 0) * 1000,
        attributes=[_text(key, value) for key, value in {**_peer(zipkin.get("remoteEndpoint") or {}), **tags}.items()],
    )
    if not is_valid(span):
        raise ValueError("an id is neither 16 nor 32 digits long, or all zeros")
    if "error" in tags:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=tags["error"]))
    for annotation in zipkin.get("annotations") or ():
        span.events.add(time_unix_nano=int(annotation["timestamp"]) * 1000, name=annotation["value"])
    return span


def _written(value: object) -> str:
    """A tag is text; numbers and booleans, which some tracers send, as JSON writes them."""
    return value if isinstance(value, str) else json.dumps(value)


def _peer(endpoint: dict[str, Any]) -> dict[str, str]:
    """Whom the span's service talked to, in OpenTelemetry's names."""
    peer = {
        "peer.service": endpoint.get("serviceName"),
        "network.peer.address": endpoint.get("ipv4") or endpoint.get("ipv6"),
        "network.peer.port": endpoint.get("port"),
    }
    return {key: _written(value) for key, value in peer.items() if value}


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
