"""What became of headers between two hops, as a table."""

import pytest

from grpc_tracing.evidence.differences import differences
from grpc_tracing.evidence.records import Header
from grpc_tracing.headers.forwarding import Decision
from tests.client.evidence import OTHER, digested, header, prefixed, traceparent

AGENT = header("user-agent", decision=Decision.REFUSED)
LONG, OTHER_LONG = b"v" * 4096, b"v" * 4095 + b"w"
ONE, TWO = header("baggage", "a=1"), header("baggage", "b=2")

TABLE: dict[str, tuple[list[Header], list[Header], list[str]]] = {
    "nothing changed": ([traceparent(), ONE, TWO], [ONE, traceparent(), TWO], []),
    "a new span in the same trace": ([traceparent()], [traceparent(span_id="b" * 16)], []),
    "another trace": ([traceparent()], [traceparent(OTHER)], ["traceparent was changed"]),
    "B3's own span ids": (
        [header("x-b3-spanid", "a" * 16), header("x-b3-parentspanid", "b" * 16)],
        [header("x-b3-spanid", "c" * 16), header("x-b3-parentspanid", "a" * 16)],
        [],
    ),
    "B3's sampling": ([header("x-b3-sampled", "1")], [header("x-b3-sampled", "0")], ["x-b3-sampled was changed"]),
    "one lost": ([ONE, traceparent()], [traceparent()], ["baggage was lost"]),
    "one of two lost": ([ONE, TWO], [TWO], ["baggage came once, not twice"]),
    "one too many": ([ONE], [ONE, ONE], ["baggage came twice, not once"]),
    "an empty value": ([header("baggage", "")], [header("baggage", "")], []),
    "order": ([ONE, TWO], [TWO, ONE], ["baggage headers changed their order"]),
    "folded": ([ONE, TWO], [header("baggage", "a=1,b=2")], ["2 baggage headers were folded into one, comma-joined"]),
    "folded with a blank": (
        [ONE, TWO],
        [header("baggage", "a=1, b=2")],
        ["2 baggage headers were folded into one, comma-joined"],
    ),
    "folded in another order": ([ONE, TWO], [header("baggage", "b=2,a=1")], ["baggage came once, not twice"]),
    "a long value, whole and by digests": ([prefixed("sw8", LONG)], [digested("sw8", LONG)], []),
    "a long value, by digest and whole": ([digested("sw8", LONG)], [header("sw8", LONG)], []),
    "another long value": ([prefixed("sw8", LONG)], [digested("sw8", OTHER_LONG)], ["sw8 was changed"]),
    "a value that the next hop does not show": ([header("x-lane", "a")], [header("x-lane", "", Decision.UNLISTED)], []),
    "a header that came from between": ([ONE], [ONE, header("x-envoy-x", "1", Decision.UNLISTED)], []),
}


@pytest.mark.parametrize(("left", "arrived", "told"), TABLE.values(), ids=TABLE)
def test_between_two_hops_it_is_told(left: list[Header], arrived: list[Header], told: list[str]) -> None:
    assert list(differences(left, [AGENT, *arrived])) == told


def test_a_record_without_bare_keys_may_have_left_more_out() -> None:
    assert list(differences([ONE], [traceparent()])) == [
        "baggage is missing, perhaps only from a record too long for it"
    ]
