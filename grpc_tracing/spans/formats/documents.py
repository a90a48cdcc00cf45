"""Spans in a JSON document of any backend, told apart by its shape and never by its name."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from grpc_tracing.spans.formats import jaeger, otlp, zipkin
from grpc_tracing.spans.model import Kind, Span

_KINDS: Final = tuple(Kind)
SHAPES: Final = "OTLP's JSON, Jaeger's, Tempo's or Zipkin's"


def spans_of(document: Any) -> list[Span]:
    """Raises MalformedError where it is none of these."""
    try:
        return list(_spans_of(document))
    except otlp.WRONG_SHAPE as error:
        raise otlp.MalformedError(f"this is not {SHAPES}: {error}") from None


def _spans_of(document: Any) -> Iterator[Span]:
    if isinstance(document, list):
        return otlp.spans_of(zipkin.parse(json.dumps(_flat(document)).encode()).resource_spans)
    if not isinstance(document, dict):
        raise TypeError("it is neither an object nor a list")
    if isinstance(document.get("data"), list):
        return jaeger.spans_of(document)
    return otlp.spans_of(otlp.from_document(_in_hex(_request(document))).resource_spans)


def _flat(document: list[Any]) -> list[Any]:
    """Zipkin's search answers a list of traces, which are lists of spans."""
    return [span for one in document for span in (one if isinstance(one, list) else [one])]


def _request(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What holds `resourceSpans`: the object itself, Jaeger's `result`, Tempo's `trace`; Tempo calls it `batches`."""
    for key in ("result", "trace"):
        if isinstance(document.get(key), dict):
            document = document[key]
    if "resourceSpans" not in document and isinstance(document.get("batches"), list):
        return {"resourceSpans": document["batches"]}
    if "resourceSpans" not in document:
        raise ValueError("there is no resourceSpans")
    return document


def _in_hex(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tempo writes ids in base64: 24 characters where hex has 32."""
    spans = [span for group in document["resourceSpans"] for scope in _scopes(group) for span in scope["spans"]]
    if not spans or len(str(spans[0].get("traceId", ""))) != 24:
        return document
    copied = copy.deepcopy(dict(document))
    for group in copied["resourceSpans"]:
        for scope in _scopes(group):
            for span in scope["spans"]:
                _decode(span)
    return copied


def _scopes(group: Mapping[str, Any]) -> Sequence[Any]:
    return [scope for scope in group.get("scopeSpans") or () if scope.get("spans")]


def _decode(span: dict[str, Any]) -> None:
    span.pop("links", None)
    for key in ("traceId", "spanId", "parentSpanId"):
        if span.get(key):
            span[key] = base64.b64decode(span[key]).hex()


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
    scope = {"spans": [written]}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": _pairs(_resource(span))}, "scopeSpans": [scope]}]})


def _resource(span: Span) -> tuple[tuple[str, str], ...]:
    facts = {"service.name": span.service} | ({"service.version": span.version} if span.version else {})
    return tuple((facts | dict(span.resource)).items())


def _pairs(attributes: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes]
