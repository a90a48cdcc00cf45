"""Trace ids in the headers of every family, and which of them name one trace."""

import pytest

from client.traceid import distinct, reported_id, same_trace, trace_id_in
from protos.hop_pb2 import Hop
from tests.client.evidence import PARENT, TRACE, header

LOWER = TRACE[16:]
IN_HEADERS: list[tuple[str, str | bytes, str | None]] = [
    ("traceparent", PARENT, TRACE),
    ("traceparent", PARENT.encode(), TRACE),
    ("traceparent", f"cc-{TRACE}-00f067aa0ba902b7-01-later", TRACE),
    ("traceparent", "garbage", None),
    ("traceparent", b"", None),
    ("x-b3-traceid", TRACE.upper(), TRACE),
    ("x-b3-traceid", LOWER, LOWER),
    ("x-b3-traceid", "abc", None),
    ("b3", f"{TRACE}-00f067aa0ba902b7-1", TRACE),
    ("b3", "0", None),
    ("x-datadog-trace-id", str(int(LOWER, 16)), LOWER),
    ("x-cloud-trace-context", f"{TRACE}/123;o=1", TRACE),
    ("x-amzn-trace-id", f"Self=1-2;Root=1-{TRACE[:8]}-{TRACE[8:]};Sampled=1", TRACE),
    ("uber-trace-id", f"{LOWER}:2:0:1", LOWER),
    ("uber-trace-id", f"{LOWER}%3A2%3A0%3A1", LOWER),
    ("sw8", "1-dHJhY2U=-c2VnbWVudA==-0-a-b-c-d", "dHJhY2U="),
    ("baggage", PARENT, None),
]


@pytest.mark.parametrize(("key", "value", "trace_id"), IN_HEADERS)
def test_the_trace_id_of_a_header_is(key: str, value: str | bytes, trace_id: str | None) -> None:
    assert trace_id_in(key, value) == trace_id


PAIRS = [
    (TRACE, TRACE, True),
    (TRACE, LOWER, True),
    (LOWER, TRACE, True),
    ("0" + TRACE[1:], TRACE[1:], True),
    (TRACE, "f" * 16 + LOWER, False),
    (TRACE, "0" * 16, False),
    ("", "", True),
    ("", TRACE, False),
    ("some-id", TRACE, False),
]


@pytest.mark.parametrize(("one", "other", "same"), PAIRS)
def test_two_ids_name_one_trace(one: str, other: str, same: bool) -> None:
    assert same_trace(one, other) is same


@pytest.mark.parametrize(
    ("spelled", "key", "value", "reported"),
    [
        (TRACE, "traceparent", PARENT, TRACE),
        (str(int(LOWER, 16)), "x-datadog-trace-id", str(int(LOWER, 16)), LOWER),
        (f"1-{TRACE[:8]}-{TRACE[8:]}", "x-amzn-trace-id", f"Root=1-{TRACE[:8]}-{TRACE[8:]}", TRACE),
        (TRACE, "x-request-id", "1", TRACE),
        (str(int(LOWER, 16)), "x-request-id", "1", LOWER),
        ("", "x-request-id", "1", ""),
    ],
)
def test_a_record_reports_its_id_in_one_spelling(spelled: str, key: str, value: str, reported: str) -> None:
    assert reported_id(Hop(trace_id=spelled, headers=[header(key, value)])) == reported


def test_traces_are_counted_once_each_and_in_order() -> None:
    assert distinct(["", TRACE, LOWER, "a" * 32, TRACE]) == [TRACE, "a" * 32]
