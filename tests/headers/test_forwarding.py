import tracemalloc

import pytest

from grpc_tracing.headers.families import DEFAULT_KEYS, FAMILIES, Pair
from grpc_tracing.headers.forwarding import Decision, Propagation, backward, check_entry, expand, onward
from protos.hop_pb2 import Decision as InRecord

FORWARDED = Decision.FORWARDED
LEFT_OUT = Decision.LEFT_OUT
REFUSED = Decision.REFUSED
SUPERSEDED = Decision.SUPERSEDED
SWITCHED_OFF = Decision.SWITCHED_OFF
UNLISTED = Decision.UNLISTED


def test_the_decisions_have_the_numbers_of_the_hop_record() -> None:
    assert {decision.name: decision.value for decision in Decision} == dict(InRecord.items())


@pytest.mark.parametrize("key", [key.replace("*", "baggage") for key in DEFAULT_KEYS if key != "b3"])
def test_every_header_of_the_default_list_goes_on(key: str) -> None:
    assert list(onward(Propagation().sort([(key, "1")]))) == [(key, "1")]


@pytest.mark.parametrize(
    ("rule", "key", "decision"),
    [
        (Propagation(), "traceparent", FORWARDED),
        (Propagation(), "b3", FORWARDED),
        (Propagation(), "uberctx-user", FORWARDED),
        (Propagation(), "uberctx", UNLISTED),
        (Propagation(), "x-lane", UNLISTED),
        (Propagation(), "grpc-timeout", REFUSED),
        (Propagation(), ":authority", REFUSED),
        (Propagation(), "te", REFUSED),
        (Propagation(), "host", REFUSED),
        (Propagation(), "user-agent", REFUSED),
        (Propagation(), "content-type", REFUSED),
        (Propagation(), "connection", REFUSED),
        (Propagation(), "x-forwarded-client-cert", REFUSED),
        (Propagation(), "x-envoy-attempt-count", REFUSED),
        (Propagation(), "talk-hop-bin", REFUSED),
        (Propagation(), "authorization", REFUSED),
        (Propagation(), "cookie", REFUSED),
        (Propagation(("*",)), "authorization", REFUSED),
        (Propagation(("*",)), "x-envoy-attempt-count", REFUSED),
        (Propagation(("*",)), "anything", FORWARDED),
        (Propagation(("authorization",)), "authorization", FORWARDED),
        (Propagation(("x-tenant-*",)), "x-tenant-id", FORWARDED),
        (Propagation(("x-tenant-*",)), "traceparent", LEFT_OUT),
        (Propagation(enabled=False), "traceparent", SWITCHED_OFF),
        (Propagation(("x-lane",), enabled=False), "x-lane", SWITCHED_OFF),
        (Propagation(enabled=False), "x-lane", UNLISTED),
    ],
)
def test_a_key_is_decided_on_by_the_rule(rule: Propagation, key: str, decision: Decision) -> None:
    assert rule.sort([(key, "1")]) == [(key, "1", decision)]


def test_the_single_b3_header_stays_behind_beside_the_multiple_ones() -> None:
    both: list[Pair] = [("b3", "1-2"), ("x-b3-traceid", "1"), ("x-b3-spanid", "2")]
    assert [decision for _, _, decision in Propagation().sort(both)] == [
        SUPERSEDED,
        FORWARDED,
        FORWARDED,
    ]


def test_pairs_go_on_in_the_order_received_with_duplicates_and_bytes() -> None:
    received: list[Pair] = [
        ("baggage", "a=1"),
        ("tracestate", "v=1"),
        ("x-secret", "stays"),
        ("baggage", "b=2"),
        ("sw8-x", "0-"),
        ("tracestate", "w=2"),
        ("own-bin", b"\x00\xff"),
    ]
    rule = Propagation((*DEFAULT_KEYS, "own-bin"))
    assert list(onward(rule.sort(received))) == [pair for pair in received if pair[0] != "x-secret"]


@pytest.mark.parametrize("value", ["caf\u00e9", "a\nb", "\x7f", "a\x00b"])
def test_a_value_that_grpc_would_refuse_to_send_stays_behind(value: str) -> None:
    assert Propagation().sort([("baggage", value)]) == [("baggage", value, REFUSED)]


def test_what_comes_back_is_rid_of_what_belongs_to_one_hop_and_of_what_grpc_would_refuse_to_send() -> None:
    kept: list[Pair] = [("talk-hop-bin", b"1"), ("grpc-status-details-bin", b"2"), ("x-mine", "3"), ("x-mine", "4")]
    dropped: list[Pair] = [("server", "envoy"), ("date", "now"), ("x-envoy-upstream-service-time", "1"), ("grpc-x", "")]
    dropped += [("x-note", "\u00e4"), ("x-note", "a\nb")]
    assert backward(kept + dropped) == tuple(kept)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("X-Lane", "upper-case"),
        ("grpc-timeout", "reserved"),
        ("x-envoy-*", "reserved"),
        ("talk-hop-bin", "reserved"),
        ("host", "reserved"),
        ("x lane", "no metadata key"),
        ("", "no metadata key"),
        ("x-*-y", "no metadata key"),
    ],
)
def test_an_entry_that_cannot_be_forwarded_is_refused_by_name(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        check_entry(entry)
    assert repr(entry) in str(refused.value)


def test_a_list_names_families_keys_and_prefixes() -> None:
    assert expand(["w3c", "sw8", "x-tenant-*", "w3c"]) == (*FAMILIES["w3c"].keys, "sw8", "x-tenant-*")
    assert expand(["authorization", "cookie"]) == ("authorization", "cookie")


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown family 'zipkin': known are w3c, b3"):
        expand(["zipkin"])


def test_keys_that_callers_make_up_are_not_kept() -> None:
    rule = Propagation()
    tracemalloc.start()
    try:
        for number in range(10_000):
            rule.sort([(f"{number:0500}", "")])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2_000_000, "a thousand of them at most, so that the next call with a usual key is quick"
