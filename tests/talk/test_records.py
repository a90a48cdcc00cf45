import hashlib

import pytest

from grpc_tracing.headers.families import HOP_RECORD, Pair
from grpc_tracing.headers.forwarding import Decision, Received
from protos.hop_pb2 import Hop
from talk import records as hops

FORWARDED = Decision.FORWARDED
REFUSED = Decision.REFUSED
UNLISTED = Decision.UNLISTED


def record(headers: list[Received]) -> Hop:
    hop = Hop(service="svc2", version="v1", instance="host", rpc="/x/Talk", status=0, trace_id="t")
    hops.note_headers(hop, headers)
    return hop


def decoded(trailers: tuple[Pair, ...]) -> Hop:
    key, value = trailers[0]
    assert key == HOP_RECORD
    assert isinstance(value, bytes)
    return Hop.FromString(value)


def test_a_record_goes_in_front_of_those_of_later_hops() -> None:
    later: list[Pair] = [(HOP_RECORD, b"svc3"), ("x-mine", "1")]
    assert hops.add(record([]), later)[1:] == tuple(later)
    assert decoded(hops.add(record([]), later)).service == "svc2"


def test_refused_and_unlisted_headers_show_their_key_only() -> None:
    shown = record(
        [
            ("authorization", "secret", REFUSED),
            ("x-own", "secret", UNLISTED),
            ("sw8", "1", FORWARDED),
        ]
    )
    assert [(header.key, header.value) for header in shown.headers] == [
        ("authorization", b""),
        ("x-own", b""),
        ("sw8", b"1"),
    ]


@pytest.mark.parametrize(("length", "whole"), [(256, True), (257, False), (4096, False)])
def test_a_value_over_256_bytes_stands_as_its_start_its_length_and_its_digest(length: int, whole: bool) -> None:
    value = "v" * length
    header = record([("baggage", value, FORWARDED)]).headers[0]
    if whole:
        assert (header.value, header.length, header.sha256) == (value.encode(), 0, b"")
    else:
        assert header.value == value[:64].encode()
        assert (header.length, header.sha256) == (length, hashlib.sha256(value.encode()).digest())


def test_a_record_keeps_to_its_limit_by_putting_digests_for_the_longest_values() -> None:
    values = [f"{index}" * 200 for index in range(8)]
    shown = decoded(
        hops.add(
            record([("sw8", "short", FORWARDED), *[("baggage", value, FORWARDED) for value in values]]),
            [],
        )
    )
    assert shown.ByteSize() <= 1024
    assert not shown.shortened
    assert shown.headers[0].value == b"short"
    for value, header in zip(values, list(shown.headers)[1:], strict=True):
        digest = hashlib.sha256(value.encode()).digest()[:8]
        assert (header.value, header.sha256[:8]) in ((value.encode(), b""), (b"", digest))


def test_a_long_key_of_a_short_value_costs_no_record_its_headers() -> None:
    key = f"x-tenant-{'k' * 300}"
    shown = decoded(hops.add(record([(key, "1", FORWARDED), *[("baggage", "v" * 250, FORWARDED)] * 4]), []))
    assert shown.ByteSize() <= 1024
    assert (shown.shortened, len(shown.headers), shown.headers[0].value) == (False, 5, b"1")


@pytest.mark.parametrize("count", [60, 400])
def test_a_record_of_many_headers_stays_within_its_limit(count: int) -> None:
    headers: list[Received] = [(f"x-tenant-number-{index}", "v" * 50, FORWARDED) for index in range(count)]
    shown = decoded(hops.add(record(headers), []))
    assert shown.ByteSize() <= 1024
    assert shown.shortened


def test_a_record_is_shortened_where_trailers_would_pass_their_limit() -> None:
    later: list[Pair] = [("x-mine-bin", b"x" * ((6 * 1024 - 200) * 3 // 4))]
    shown = decoded(hops.add(record([("baggage", "v" * 250, FORWARDED)]), later))
    assert shown == Hop(service="svc2", version="v1", trace_id="t", shortened=True)


def test_a_record_is_left_out_where_even_a_short_one_might_break_the_call() -> None:
    later: list[Pair] = [("grpc-status-details-bin", b"x" * (7650 * 3 // 4))]
    assert hops.add(record([]), later) == tuple(later)


@pytest.mark.parametrize(("message", "left"), [("x" * 5000, 1), ("x" * 7500, 0), ("✓" * 850, 0), ("%" * 2500, 0)])
def test_the_status_s_message_counts_as_it_is_sent(message: str, left: int) -> None:
    later: list[Pair] = [("x-mine", "x" * 900)]
    added = hops.add(record([("baggage", "v" * 250, FORWARDED)]), later, message)
    assert len(added) - len(later) == left
    assert all(decoded(added).shortened for _ in range(left))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("By=spiffe://c/ns/n/sa/svc2;Hash=ab;URI=spiffe://c/ns/n/sa/svc1", "spiffe://c/ns/n/sa/svc1"),
        ('Hash=1;URI=spiffe://far;Subject="CN=a,b",Hash=2;URI="spiffe://near"', "spiffe://near"),
        ("Hash=ab", "unix:"),
    ],
)
def test_the_peer_is_the_nearest_workload_identity(header: str, expected: str) -> None:
    assert hops.peer_identity([("x-forwarded-client-cert", header)], "unix:") == expected
