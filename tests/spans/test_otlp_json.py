"""OTLP's JSON is read without protobuf as it is read with it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.formats.documents import spans_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALUES: list[dict[str, Any]] = [
    {"stringValue": "a"},
    {"stringValue": ""},
    {"intValue": "7"},
    {"intValue": 7},
    {"doubleValue": 0.5},
    {"boolValue": False},
    {"bytesValue": "AAE="},
    {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}},
    {"arrayValue": {}},
    {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}},
    {},
]


def document(**fields: Any) -> dict[str, Any]:
    span = {"traceId": TRACE, "spanId": SPAN, "name": "Talk", "kind": 2} | fields
    times = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": 1700000000000000005}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [times | span]}]}]}


GOOD: list[dict[str, Any]] = [
    {},
    {"attributes": [{"key": f"k{number}", "value": value} for number, value in enumerate(VALUES)]},
    {"parentSpanId": SPAN},
    {"parentSpanId": "0" * 16},
    {"traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(), "spanId": base64.b64encode(b"12345678").decode()},
    {"traceId": TRACE.upper()},
    {"kind": "SPAN_KIND_CLIENT"},
    {"kind": "SPAN_KIND_NONE"},
    {"kind": 99},
    {"status": {"code": 2, "message": "no"}},
    {"status": {"code": "STATUS_CODE_ERROR"}},
    {"attributes": [{"key": "grpc.status_code", "value": {"stringValue": "5"}}]},
    {"events": [{"name": "e", "timeUnixNano": "3", "attributes": [{"key": "a", "value": {"intValue": "1"}}]}]},
]


@pytest.mark.parametrize("fields", GOOD)
def test_both_readers_give_the_same_span(fields: dict[str, Any]) -> None:
    given = document(**fields)
    assert spans_of(given) == list(otlp.spans_of(otlp.from_document(given).resource_spans))


@pytest.mark.parametrize(
    "fields",
    [
        {"traceId": "xyz"},
        {"traceId": 5},
        {"name": ["a"]},
        {"startTimeUnixNano": "-1"},
        {"startTimeUnixNano": "soon"},
        {"attributes": [5]},
        {"events": [5]},
    ],
)
def test_both_readers_refuse_the_same(fields: dict[str, Any]) -> None:
    given = document(**fields)
    with pytest.raises(otlp.MalformedError):
        spans_of(given)
    with pytest.raises(otlp.MalformedError):
        otlp.from_document(given)
