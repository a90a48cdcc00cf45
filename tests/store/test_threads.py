"""Each header's thread through the hops, from records as the requester posts them."""

from typing import Any

import pytest

from grpc_tracing.store.calls import parse_call
from grpc_tracing.store.threads import Knot, Thread, lost_at, threads

TRACE, OTHER = "a" * 32, "b" * 32


def traceparent(trace_id: str = TRACE, span: str = "1", fate: str = "forwarded") -> dict[str, Any]:
    return header("traceparent", f"00-{trace_id}-{span * 16}-01", fate)


def header(key: str, value: str, fate: str = "forwarded", **more: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "fate": fate, **more}


AGENT = header("user-agent", "", "refused")


def traced(*hops: list[dict[str, Any]] | None) -> dict[str, Thread]:
    """By key; None is a hop without a record."""
    document = {
        "verdict": "broken",
        "hops": [
            {"service": f"svc{number}", "record": "unknown" if headers is None else "whole", "headers": headers or []}
            for number, headers in enumerate(hops, 1)
        ],
    }
    return {one.key: one for one in threads(parse_call(document))}


def knots(thread: Thread) -> list[Knot]:
    return [stop.knot for stop in thread.stops]


ONE, TWO = header("baggage", "a=1"), header("baggage", "b=2")
TABLE: dict[str, tuple[list[list[dict[str, Any]] | None], str, list[Knot], bool]] = {
    "a new span id at each hop": (
        [[traceparent(span="1")], [traceparent(span="2")], [traceparent(span="3")]],
        "traceparent",
        [Knot.RECEIVED, Knot.NEW_SPAN, Knot.NEW_SPAN],
        False,
    ),
    "switched off, and another trace comes": (
        [[traceparent()], [traceparent(fate="switched_off")], [traceparent(OTHER)]],
        "traceparent",
        [Knot.RECEIVED, Knot.SAME, Knot.OTHER_TRACE],
        True,
    ),
    "left out, and nothing comes": (
        [[header("x-request-id", "r", "left_out"), AGENT], [AGENT]],
        "x-request-id",
        [Knot.RECEIVED, Knot.ABSENT],
        True,
    ),
    "two values that are joined": (
        [[ONE, TWO], [header("baggage", "a=1,b=2")]],
        "baggage",
        [Knot.RECEIVED, Knot.JOINED],
        False,
    ),
    "another value": ([[ONE], [TWO]], "baggage", [Knot.RECEIVED, Knot.CHANGED], False),
    "lost between two hops": ([[ONE, AGENT], [AGENT]], "baggage", [Knot.RECEIVED, Knot.LOST], True),
    "lost behind a hop without a record": (
        [[traceparent()], None, [traceparent(OTHER)]],
        "traceparent",
        [Knot.RECEIVED, Knot.UNSEEN, Knot.OTHER_TRACE],
        True,
    ),
    "perhaps lost, for the record gave up its bare keys": (
        [[ONE], [traceparent()]],
        "baggage",
        [Knot.RECEIVED, Knot.PERHAPS_LOST],
        False,
    ),
    "begun by what lies between": ([[AGENT], [ONE]], "baggage", [Knot.ABSENT, Knot.RECEIVED], False),
    "written anew": (
        [[header("baggage", "a=1", "left_out")], [TWO]],
        "baggage",
        [Knot.RECEIVED, Knot.ANEW],
        True,
    ),
    "the last hop need not forward": ([[ONE], [header("baggage", "a=1", "left_out")]], "baggage",
        [Knot.RECEIVED, Knot.SAME], False),
    "a long value that is the same by its digest": (
        [[header("sw8", "", length=9, sha256="ab" * 8)], [header("sw8", "", length=9, sha256="ab" * 8)]],
        "sw8",
        [Knot.RECEIVED, Knot.SAME],
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("hops", "key", "expected", "torn"), TABLE.values(), ids=TABLE)
def test_a_thread_tells_what_became_of_its_header(
    hops: list[list[dict[str, Any]] | None], key: str, expected: list[Knot], torn: bool
) -> None:
    thread = traced(*hops)[key]
    assert (knots(thread), thread.torn) == (expected, torn)


def test_a_thread_says_where_it_ends_and_why() -> None:
    thread = traced([traceparent()], [traceparent(fate="switched_off")], [traceparent(OTHER)])["traceparent"]
    assert [stop.ends for stop in thread.stops] == ["", "switched off: its propagation is set to none", ""]


def test_what_a_hop_lost_is_told_by_its_record_or_by_the_next_one() -> None:
    own = tuple(traced([traceparent()], [traceparent(fate="left_out"), ONE], [traceparent(OTHER), ONE]).values())
    assert [one.key for one in lost_at(own, 1)] == ["traceparent"]
    assert lost_at(own, 0) == ()
    silent = tuple(traced([traceparent(), ONE], None, [traceparent(OTHER), ONE]).values())
    assert [one.key for one in lost_at(silent, 1)] == ["traceparent"]


def test_refused_headers_have_no_thread_and_families_stand_first() -> None:
    assert list(traced([header("x-lane", "a"), AGENT, header("x-b3-traceid", TRACE), traceparent()])) == [
        "traceparent",
        "x-b3-traceid",
        "x-lane",
    ]


@pytest.mark.parametrize("bad", [{"length": "long"}, {"length": -1}, {"sha256": "no hex"}, {"length": True}])
def test_a_record_that_spells_lengths_and_digests_wrong_is_read_all_the_same(bad: dict[str, Any]) -> None:
    assert knots(traced([header("sw8", "v", **bad)])["sw8"]) == [Knot.RECEIVED]


def test_what_is_lost_past_a_hop_without_a_record_names_that_hop() -> None:
    past = traced([ONE, AGENT], None, [AGENT])["baggage"]
    direct = traced([ONE, AGENT], [AGENT])["baggage"]
    assert past.stops[-1].said == "sent, and not received, past svc2"
    assert direct.stops[-1].said == "sent, and not received"
