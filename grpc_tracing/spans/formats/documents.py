"""Spans in a JSON document of any backend, told apart by its shape and never by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from grpc_tracing.spans.formats import arms, jaeger, otlp, zipkin
from grpc_tracing.spans.model import Kind, Span

_KINDS: Final = tuple(Kind)
SHAPES: Final = "OTLP's JSON, Jaeger's, Tempo's, Zipkin's or ARMS'"


def spans_of(document: Any) -> list[Span]:
    """Raises MalformedError where it is none of these."""
    try:
        return list(_spans_of(document))
    except otlp.WRONG_SHAPE as error:
        raise otlp.MalformedError(f"this is not {SHAPES}: {error}") from None


def _spans_of(document: Any) -> Iterator[Span]:
    if isinstance(document, list):
        return otlp.spans_of(zipkin.from_document(_flat(document)).resource_spans)
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        return jaeger.spans_of(document)
    if isinstance(document, dict) and "Spans" in document:
        return arms.spans_of(document)
    return otlp.read_json(otlp.find_spans(document))


def _flat(document: list[Any]) -> list[Any]:
    """Zipkin's search answers a list of traces, which are lists of spans."""
    return [span for one in document for span in (one if isinstance(one, list) else [one])]


def line(span: Span) -> str:
    """The span as OTLP's JSON in one line, every attribute as text: what `spans_of` reads as the same span."""
    written: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS.index(span.kind),
        "startTimeUnixNano": str(max(0, span.start_ns)),
        "endTimeUnixNano": str(max(0, span.end_ns)),
        "attributes": _pairs(span.attributes),
        "status": {"code": 2, "message": span.message} if span.error else {},
    }
    if span.parent_id:
        written["parentSpanId"] = span.parent_id
    if span.links:
        written["links"] = [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in span.links]
    scope = {"spans": [written]}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": _pairs(_resource(span))}, "scopeSpans": [scope]}]})


def _resource(span: Span) -> tuple[tuple[str, str], ...]:
    facts = {"service.name": span.service} | ({"service.version": span.version} if span.version else {})
    return tuple((facts | dict(span.resource)).items())


def _pairs(attributes: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes]
