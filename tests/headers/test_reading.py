import base64

import pytest

from grpc_tracing.headers.families import CARRIERS, Pair
from grpc_tracing.headers.reading import read, same_trace, sampling, trace_id

T32, S16 = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ZERO32, ZERO16 = "0" * 32, "0" * 16
SEGMENT = base64.b64encode(b"the.trace").decode()
SW8 = f"{SEGMENT}-c2Vn-3-c3Zj-aW5z-L3g=-c3ZjOjk5OTY="
AMAZON = "1-67891233-abcdef012345678912345678"

TRACEPARENT = f"00-{T32}-{S16}-01"
B3 = [("x-b3-spanid", S16)]

GOOD: list[tuple[list[Pair], str, str, str, bool | None]] = [
    # metadata, trace id as spelled, trace id, span id, sampled
    ([("traceparent", TRACEPARENT)], T32, T32, S16, True),
    ([("traceparent", f"00-{T32}-{S16}-00")], T32, T32, S16, False),
    ([("traceparent", f"00-{T32}-{S16}-03")], T32, T32, S16, True),
    ([("traceparent", f"01-{T32}-{S16}-01-what-comes-later")], T32, T32, S16, True),
    ([("x-b3-traceid", T32), *B3], T32, T32, S16, None),
    ([("x-b3-traceid", S16), *B3], S16, S16, S16, None),
    ([("x-b3-traceid", T32), *B3, ("x-b3-sampled", "1")], T32, T32, S16, True),
    ([("x-b3-traceid", T32), *B3, ("x-b3-sampled", "0")], T32, T32, S16, False),
    ([("x-b3-traceid", T32), *B3, ("x-b3-flags", "1")], T32, T32, S16, True),
    ([("b3", f"{T32}-{S16}")], T32, T32, S16, None),
    ([("b3", f"{T32}-{S16}-1")], T32, T32, S16, True),
    ([("b3", f"{T32}-{S16}-d")], T32, T32, S16, True),
    ([("b3", f"{S16}-{S16}-0-{S16}")], S16, S16, S16, False),
    ([("b3", "0")], "", "", "", False),
    ([("sw8", f"1-{SW8}")], "the.trace", "the.trace", "", True),
    ([("sw8", f"0-{SW8}")], "the.trace", "the.trace", "", False),
    ([("x-datadog-trace-id", "1234567890")], "1234567890", "00000000499602d2", "", None),
    (
        [("x-datadog-trace-id", "1"), ("x-datadog-parent-id", "2"), ("x-datadog-sampling-priority", "2")],
        "1",
        "0000000000000001",
        "0000000000000002",
        True,
    ),
    ([("x-datadog-trace-id", "1"), ("x-datadog-sampling-priority", "-1")], "1", "0000000000000001", "", False),
    ([("x-datadog-trace-id", "1"), ("x-datadog-sampling-priority", "0")], "1", "0000000000000001", "", False),
    ([("x-datadog-trace-id", "18446744073709551615")], "18446744073709551615", "f" * 16, "", None),
    ([("x-cloud-trace-context", f"{T32}/1;o=1")], T32, T32, "0000000000000001", True),
    ([("x-cloud-trace-context", f"{T32.upper()}/1;o=0")], T32.upper(), T32, "0000000000000001", False),
    ([("x-cloud-trace-context", T32)], T32, T32, "", None),
    (
        [("x-amzn-trace-id", f"Self=1-2-3;Root={AMAZON};Parent={S16};Sampled=1")],
        AMAZON,
        "67891233abcdef012345678912345678",
        S16,
        True,
    ),
    ([("x-amzn-trace-id", f"Root={AMAZON};Sampled=0")], AMAZON, "67891233abcdef012345678912345678", "", False),
    ([("uber-trace-id", f"{T32}:{S16}:0:1")], T32, T32, S16, True),
    ([("uber-trace-id", f"{T32}%3A{S16}%3a0%3A0")], T32, T32, S16, False),
    ([("uber-trace-id", "abc:f:0:1")], "abc", "0000000000000abc", "000000000000000f", True),
]


@pytest.mark.parametrize(("metadata", "spelled", "trace", "span", "sampled"), GOOD)
def test_a_good_value_gives_its_ids_and_its_sampling(
    metadata: list[Pair], spelled: str, trace: str, span: str, sampled: bool | None
) -> None:
    (context,) = read(metadata)
    assert (context.spelled, context.trace_id, context.span_id, context.fault) == (spelled, trace, span, "")
    assert (context.sampled, sampling(metadata)) == (sampled, sampled)
    assert trace_id(metadata) == spelled


_FORM = "it is version-traceid-spanid-flags with 2, 32, 16 and 2 hex digits"
FAULTS: list[tuple[list[Pair], str]] = [
    ([("traceparent", f"ff-{T32}-{S16}-01")], "version ff is invalid"),
    ([("traceparent", f"00-{ZERO32}-{S16}-01")], "the trace id is all zeros"),
    ([("traceparent", f"00-{T32}-{ZERO16}-01")], "the span id is all zeros"),
    ([("traceparent", TRACEPARENT.upper())], "its hex digits are lower case"),
    ([("traceparent", f"00-{T32[16:]}-{S16}-01")], _FORM),
    ([("traceparent", f"00-{T32}-{S16[2:]}-01")], _FORM),
    ([("traceparent", f"00-{T32}-{S16}")], _FORM),
    ([("traceparent", f"00-{T32}-{S16}-1")], _FORM),
    ([("traceparent", f"{TRACEPARENT}-more")], "version 00 has four fields and no more"),
    ([("traceparent", f" {TRACEPARENT}")], _FORM),
    ([("traceparent", f"{TRACEPARENT}\n")], _FORM),
    ([("traceparent", "")], _FORM),
    ([("traceparent", "garbage")], _FORM),
    ([("traceparent", f"{TRACEPARENT},{TRACEPARENT}")], "two values are joined by a comma: one is allowed"),
    ([("traceparent", TRACEPARENT)] * 2, "traceparent came 2 times: a tracer reads one header of that name"),
    ([("x-b3-traceid", ""), *B3], "the trace id is empty"),
    ([("x-b3-traceid", T32.upper()), *B3], "the hex digits of the trace id are lower case"),
    ([("x-b3-traceid", T32[1:]), *B3], "the trace id has 16 or 32 hex digits, not 31 characters"),
    ([("x-b3-traceid", f"0{T32}"), *B3], "the trace id has 16 or 32 hex digits, not 33 characters"),
    ([("x-b3-traceid", "g" * 16), *B3], "the trace id has 16 or 32 hex digits, not 16 characters"),
    ([("x-b3-traceid", ZERO16), *B3], "the trace id is all zeros"),
    ([("x-b3-traceid", T32)], "x-b3-spanid is missing beside it"),
    ([("x-b3-traceid", T32), ("x-b3-spanid", "")], "the span id is empty"),
    ([("x-b3-traceid", T32), ("x-b3-spanid", S16[2:])], "the span id has 16 hex digits, not 14 characters"),
    ([("x-b3-traceid", T32), ("x-b3-spanid", ZERO16)], "the span id is all zeros"),
    ([("x-b3-traceid", T32), *B3, *B3], "x-b3-spanid came 2 times"),
    ([("x-b3-traceid", T32), *B3, ("x-b3-sampled", "1"), ("x-b3-sampled", "0")], "x-b3-sampled came 2 times"),
    ([("x-b3-traceid", T32), *B3, ("x-b3-flags", "1"), ("x-b3-flags", "1")], "x-b3-flags came 2 times"),
    (
        [("x-b3-traceid", T32), ("x-b3-traceid", T32), *B3],
        "x-b3-traceid came 2 times: a tracer reads one header of that name",
    ),
    ([("b3", "")], "it is empty"),
    ([("b3", T32)], "it is traceid-spanid-sampled-parentspanid"),
    ([("b3", f"{T32}-{S16}-yes")], "it is traceid-spanid-sampled-parentspanid"),
    ([("b3", f"{T32}-{S16}-1-{S16[1:]}")], "it is traceid-spanid-sampled-parentspanid"),
    ([("b3", f"{T32[1:]}-{S16}-1")], "the trace id has 16 or 32 hex digits, not 31 characters"),
    ([("b3", f"{T32}-{S16[1:]}-1")], "the span id has 16 hex digits, not 15 characters"),
    ([("b3", f"{T32.upper()}-{S16}-1")], "the hex digits of the trace id are lower case"),
    ([("b3", f"{ZERO32}-{S16}-1")], "the trace id is all zeros"),
    ([("b3", f"-{S16}-1")], "the trace id is empty"),
    ([("b3", f"{T32}-{S16}")] * 2, "b3 came 2 times: a tracer reads one header of that name"),
    ([("sw8", "")], "it is eight fields joined by '-', the first 0 or 1"),
    ([("sw8", f"2-{SW8}")], "it is eight fields joined by '-', the first 0 or 1"),
    ([("sw8", f"1-{SEGMENT}-c2Vn-3-c3Zj")], "it is eight fields joined by '-', the first 0 or 1"),
    ([("sw8", f"1-{SW8.replace(SEGMENT, '%%%')}")], "the trace id is no base64 text"),
    ([("sw8", f"1-{SW8.replace(SEGMENT, '/w==')}")], "the trace id is no base64 text"),
    ([("sw8", f"1-{SW8.replace(SEGMENT, '')}")], "the trace id is no base64 text"),
    ([("sw8", f"1-{SW8}")] * 2, "sw8 came 2 times: a tracer reads one header of that name"),
    ([("x-datadog-trace-id", "")], "the trace id is a decimal number from 1 to 2^64 - 1"),
    ([("x-datadog-trace-id", "0")], "the trace id is a decimal number from 1 to 2^64 - 1"),
    ([("x-datadog-trace-id", "18446744073709551616")], "the trace id is a decimal number from 1 to 2^64 - 1"),
    ([("x-datadog-trace-id", T32)], "the trace id is a decimal number from 1 to 2^64 - 1"),
    (
        [("x-datadog-trace-id", "1"), ("x-datadog-parent-id", "x")],
        "the parent id is a decimal number from 1 to 2^64 - 1",
    ),
    ([("x-cloud-trace-context", "")], "it is TRACE_ID/SPAN_ID;o=OPTIONS with a trace id of 32 hex digits"),
    ([("x-cloud-trace-context", f"{S16}/1;o=1")], "it is TRACE_ID/SPAN_ID;o=OPTIONS with a trace id of 32 hex digits"),
    ([("x-cloud-trace-context", f"{ZERO32}/1;o=1")], "the trace id is all zeros"),
    ([("x-amzn-trace-id", "")], "its Root is 1-XXXXXXXX-XXXXXXXXXXXXXXXXXXXXXXXX in hex digits"),
    ([("x-amzn-trace-id", f"Root={T32}")], "its Root is 1-XXXXXXXX-XXXXXXXXXXXXXXXXXXXXXXXX in hex digits"),
    ([("x-amzn-trace-id", f"Root=1-{'0' * 8}-{'0' * 24}")], "the trace id is all zeros"),
    ([("uber-trace-id", "")], "it is traceid:spanid:parentspanid:flags in hex digits"),
    ([("uber-trace-id", f"{T32}:{S16}")], "it is traceid:spanid:parentspanid:flags in hex digits"),
    ([("uber-trace-id", f"0{T32}:{S16}:0:1")], "it is traceid:spanid:parentspanid:flags in hex digits"),
    ([("uber-trace-id", f"0:{S16}:0:1")], "the trace id is all zeros"),
    ([("uber-trace-id", f"{T32}:0:0:1")], "the span id is all zeros"),
]


@pytest.mark.parametrize(("metadata", "fault"), FAULTS)
def test_a_value_that_the_strictest_tracer_rejects_has_a_fault_and_no_ids(metadata: list[Pair], fault: str) -> None:
    (context,) = read(metadata)
    assert context.fault == fault
    assert (context.spelled, context.trace_id, context.span_id, context.sampled) == ("", "", "", None)
    assert trace_id(metadata) == ""


def test_the_tables_hold_a_good_and_a_faulty_value_of_every_carrier() -> None:
    assert {read(metadata)[0].key for metadata, *_ in GOOD} == set(CARRIERS)
    assert {read(metadata)[0].key for metadata, _ in FAULTS} == set(CARRIERS)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([("x-b3-traceid", S16), *B3, ("traceparent", TRACEPARENT)], T32),
        ([("traceparent", "garbage"), ("x-b3-traceid", S16), *B3], S16),
        ([("x-request-id", "1")], ""),
        ([("traceparent", b"bytes")], ""),
        ([], ""),
    ],
)
def test_the_trace_id_is_that_of_the_first_family_that_can_be_read(metadata: list[Pair], expected: str) -> None:
    assert trace_id(metadata) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([("traceparent", TRACEPARENT), ("b3", "0")], False),
        ([("x-b3-sampled", "0")], False),
        ([("x-b3-sampled", "1")], True),
        ([("traceparent", "garbage")], None),
        ([], None),
    ],
)
def test_a_call_is_sampled_where_no_header_says_otherwise(metadata: list[Pair], expected: bool | None) -> None:
    assert sampling(metadata) is expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (T32, T32, True),
        (T32, T32[16:], True),
        (T32[16:], T32, True),
        (T32, T32[:16], False),
        (T32, "f" + T32[1:], False),
        (S16, S16.zfill(32), True),
        ("the.trace", "the.trace", True),
        ("the.trace", T32, False),
    ],
)
def test_an_id_of_64_bits_is_the_lower_half_of_one_of_128(one: str, other: str, same: bool) -> None:
    assert same_trace(one, other) is same
