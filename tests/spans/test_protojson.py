"""OTLP's JSON as messages: the same as protobuf's own reader makes of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from grpc_tracing.spans.formats.protojson import message_of

IDS = ("traceId", "spanId", "parentSpanId")
TEXT = st.text(max_size=8)
NANOS = st.integers(0, 2**64 - 1)
VALUES: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        st.builds(lambda one: {"stringValue": one}, TEXT),
        st.builds(lambda one: {"boolValue": one}, st.booleans()),
        st.builds(lambda one: {"intValue": one}, st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9).map(str)),
        st.builds(
            lambda one: {"doubleValue": one},
            st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "Infinity", "-Infinity", "1.5"]),
        ),
        st.builds(lambda one: {"bytesValue": base64.b64encode(one).decode()}, st.binary(max_size=9)),
        st.builds(lambda all_: {"arrayValue": {"values": all_}}, st.lists(VALUES, max_size=2)),
        st.builds(lambda all_: {"kvlistValue": {"values": all_}}, st.lists(ATTRIBUTES, max_size=2)),
        st.just({}),
    )
)
ATTRIBUTES: st.SearchStrategy[Any] = st.deferred(lambda: st.fixed_dictionaries({"key": TEXT, "value": VALUES}))


def an_id(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


SPANS = st.fixed_dictionaries(
    {"traceId": an_id(16), "spanId": an_id(8), "name": TEXT},
    optional={
        "parentSpanId": an_id(8),
        "kind": st.integers(0, 9) | st.sampled_from(["SPAN_KIND_SERVER", "SPAN_KIND_SIDEWAYS"]),
        "startTimeUnixNano": NANOS | NANOS.map(str),
        "endTimeUnixNano": NANOS.map(str) | st.none(),
        "attributes": st.lists(ATTRIBUTES, max_size=3),
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(0, 2), "message": TEXT}),
        "events": st.lists(st.fixed_dictionaries({"name": TEXT, "attributes": st.lists(ATTRIBUTES)}), max_size=2),
        "links": st.lists(st.fixed_dictionaries({"traceId": an_id(16), "spanId": an_id(8)}), max_size=2),
        "aNewField": VALUES,
    },
)


def document(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "s"}, "spans": list(spans)}]}]}


def by_protobuf(one: dict[str, Any]) -> TracesData:
    """As protobuf's JSON has ids: in base64."""
    copied = json.loads(json.dumps(one))
    (span,) = copied["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for part in (span, *span.get("links", ())):
        part |= {key: base64.b64encode(bytes.fromhex(part[key])).decode() for key in IDS if key in part}
    return json_format.ParseDict(copied, TracesData(), ignore_unknown_fields=True)


@given(SPANS)
def test_a_span_is_read_as_protobuf_reads_it(span: dict[str, Any]) -> None:
    one = document(span)
    before = json.dumps(one)
    assert message_of(one, TracesData).SerializeToString() == by_protobuf(one).SerializeToString()
    assert json.dumps(one) == before, "the document is left as it is"


def test_protobufs_own_names_and_tempos_ids_are_read() -> None:
    span = {"trace_id": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AAECAwQFBgc=", "start_time_unix_nano": 7.0}
    (read,) = message_of(document(span), TracesData).resource_spans[0].scope_spans[0].spans
    assert (read.trace_id.hex(), read.span_id.hex()) == ("000102030405060708090a0b0c0d0e0f", "0001020304050607")
    assert read.start_time_unix_nano == 7


WRONG: dict[str, Any] = {
    "no object": [],
    "a list for an object": {"resourceSpans": [{"resource": []}]},
    "an object for a list": {"resourceSpans": {}},
    "a text for a list": {"resourceSpans": [{"resource": {"entityRefs": [{"idKeys": "host"}]}}]},
    "null in a list": {"resourceSpans": [None]},
    "an id that is not hex": document({"traceId": "xyz"}),
    "an id that is a number": document({"traceId": 7}),
    "a number for a text": document({"name": 7}),
    "a text for a bool": document({"attributes": [{"key": "a", "value": {"boolValue": "true"}}]}),
    "a bool for a number": document({"attributes": [{"key": "a", "value": {"intValue": True}}]}),
    "half a nanosecond": document({"startTimeUnixNano": 0.5}),
    "a negative time": document({"startTimeUnixNano": "-1"}),
    "a time beyond 64 bits": document({"startTimeUnixNano": 2**64}),
    "a text for a number": document({"startTimeUnixNano": "soon"}),
    "infinity by another name": document({"attributes": [{"key": "a", "value": {"doubleValue": "inf"}}]}),
    "bytes that are no base64": document({"attributes": [{"key": "a", "value": {"bytesValue": "?"}}]}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_shape_is_refused(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        message_of(wrong, TracesData)
