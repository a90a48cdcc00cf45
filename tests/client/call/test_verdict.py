"""The verdict, as tables: what the hops left behind, and what is said of it."""

import pytest

from client.call.outcome import Outcome
from client.call.verdict import judge, no_trace_came
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import HopRecord
from grpc_tracing.headers.forwarding import Decision
from tests.client.evidence import (
    OTHER,
    PARENT,
    TRACE,
    digested,
    header,
    hop,
    last,
    outcome,
    prefixed,
    traceparent,
)
from tests.support.spans import make

FORWARDED = Decision.FORWARDED
LEFT_OUT = Decision.LEFT_OUT
REFUSED = Decision.REFUSED
SUPERSEDED = Decision.SUPERSEDED
SWITCHED_OFF = Decision.SWITCHED_OFF
UNLISTED = Decision.UNLISTED

EXPECTED = ("svc1", "svc2", "svc3")
SVC1, SVC2, SVC3 = hop("svc1", traceparent()), hop("svc2", traceparent()), last("svc3", traceparent())
B3 = (header("x-b3-traceid", TRACE), header("x-b3-spanid", "00f067aa0ba902b7"), header("x-b3-sampled", "1"))
STATES = (header("tracestate", "a=1"), header("tracestate", "b=2"))
LONG = b"v" * 4096


def without_traceparent(service: str, decision: int = SWITCHED_OFF, **fields: object) -> HopRecord:
    return hop(service, traceparent(decision=decision), **fields)  # type: ignore[arg-type]


CONNECTED: dict[str, tuple[HopRecord, ...]] = {
    "the same parent id at every hop, without a mesh": (SVC1, SVC2, SVC3),
    "another parent id after each sidecar": (
        SVC1,
        hop("svc2", traceparent(span_id="b" * 16)),
        last("svc3", traceparent(span_id="c" * 16)),
    ),
    "several families": (
        hop("svc1", traceparent(), *B3),
        hop("svc2", traceparent(), *B3),
        last("svc3", traceparent(), *B3),
    ),
    "two tracestate headers folded into one by Envoy": (
        hop("svc1", traceparent(), *STATES),
        hop("svc2", traceparent(), header("tracestate", "a=1,b=2")),
        last("svc3", traceparent(), header("tracestate", "a=1,b=2")),
    ),
    "a b3 header left behind beside x-b3-*": (
        hop("svc1", *B3, header("b3", f"{TRACE}-00f067aa0ba902b7-1", SUPERSEDED)),
        hop("svc2", *B3),
        last("svc3", *B3),
    ),
    "a middle hop without a record": (SVC1, SVC3),
    "a last hop without a record": (SVC1, SVC2),
    "a first hop without a record": (SVC2, SVC3),
    "a shortened record in the middle": (SVC1, HopRecord(service="svc2", trace_id=TRACE, shortened=True), SVC3),
    "a shortened record at the end of what is known": (SVC1, HopRecord(service="svc2", trace_id=TRACE, shortened=True)),
    "a last hop that would not forward, and calls nobody": (
        SVC1,
        SVC2,
        last("svc3", traceparent(decision=SWITCHED_OFF)),
    ),
    "headers on no list": (hop("svc1", traceparent(), header("x-foo", "", UNLISTED)), SVC2, SVC3),
    "a 64 bit B3 id beside the whole one": (
        SVC1,
        hop("svc2", header("x-b3-traceid", TRACE[16:]), trace_id=TRACE[16:]),
        SVC3,
    ),
    "a long value in three forms": (
        hop("svc1", traceparent(), prefixed("baggage", LONG)),
        hop("svc2", traceparent(), digested("baggage", LONG)),
        last("svc3", traceparent(), header("baggage", LONG)),
    ),
}


@pytest.mark.parametrize("hops", CONNECTED.values(), ids=CONNECTED)
def test_a_trace_is_connected_with(hops: tuple[HopRecord, ...]) -> None:
    judgement = judge(outcome(*hops), EXPECTED)
    assert (judgement.verdict, judgement.problems, judgement.traces) == ("connected", (), 1)
    assert judgement.trace_id in {TRACE, TRACE[16:].zfill(32)}


BROKEN: dict[str, tuple[tuple[HopRecord, ...], str, int]] = {
    "svc2 drops traceparent, and its sidecar begins another trace": (
        (SVC1, without_traceparent("svc2"), last("svc3", traceparent(OTHER), trace_id=OTHER)),
        "svc2 received traceparent and did not forward it: 2 traces, expected 1 (its propagation is set to none)",
        2,
    ),
    "svc2's own list lacks traceparent": (
        (SVC1, without_traceparent("svc2", LEFT_OUT), last("svc3", traceparent(OTHER), trace_id=OTHER)),
        "svc2 received traceparent and did not forward it: 2 traces, expected 1 (missing from its own list)",
        2,
    ),
    "svc2 drops it without a mesh": (
        (SVC1, without_traceparent("svc2"), last("svc3", trace_id="")),
        "svc2 received traceparent and did not forward it: svc3 received no trace id (its propagation is set to none)",
        1,
    ),
    "svc2 drops a family beside the one that is reported": (
        (
            hop("svc1", traceparent(), *B3),
            hop("svc2", traceparent(), *(header(b3.key, b3.value, LEFT_OUT) for b3 in B3)),
            SVC3,
        ),
        "svc2 received x-b3-traceid, x-b3-spanid, x-b3-sampled and did not forward them (missing from its own list)",
        1,
    ),
    "svc2 drops one baggage of two": (
        (
            hop("svc1", traceparent(), header("baggage", "a=1"), header("baggage", "b=2")),
            hop("svc2", traceparent(), header("baggage", "a=1"), header("baggage", "b=2", LEFT_OUT)),
            last("svc3", traceparent(), header("baggage", "a=1")),
        ),
        "svc2 received baggage and did not forward it (missing from its own list)",
        1,
    ),
    "svc2 drops x-request-id": (
        (SVC1, hop("svc2", traceparent(), header("x-request-id", "1", LEFT_OUT)), SVC3),
        "svc2 received x-request-id and did not forward it (missing from its own list)",
        1,
    ),
    "a proxy changed the trace id": (
        (SVC1, hop("svc2", traceparent(OTHER), trace_id=OTHER), last("svc3", traceparent(OTHER), trace_id=OTHER)),
        (
            f"svc1 forwarded trace {TRACE} and svc2 received trace {OTHER}: "
            "what lies between them changed it, 2 traces, expected 1"
        ),
        2,
    ),
    "a proxy dropped the trace id": (
        (SVC1, hop("svc2", trace_id=""), last("svc3", trace_id="")),
        f"svc1 forwarded trace {TRACE} and svc2 received no trace id: what lies between them changed it",
        1,
    ),
    "a trace that begins only after svc1": (
        (hop("svc1", trace_id=""), SVC2, SVC3),
        f"svc1 forwarded no trace id and svc2 received trace {TRACE}: what lies between them changed it",
        1,
    ),
    "a hop without a record changed the trace id: it is unknown, not blamed": (
        (SVC1, last("svc3", traceparent(OTHER), trace_id=OTHER)),
        (
            f"svc1 forwarded trace {TRACE} and svc3 received trace {OTHER}: "
            "svc2 between them left no record (unknown), 2 traces, expected 1"
        ),
        2,
    ),
    "the trace id changed after a shortened record, which blames nobody": (
        (
            SVC1,
            HopRecord(service="svc2", trace_id=TRACE, shortened=True),
            last("svc3", traceparent(OTHER), trace_id=OTHER),
        ),
        (
            f"svc2 received trace {TRACE} and svc3 received trace {OTHER}: "
            "the record of svc2 is shortened and does not say which headers it forwarded, 2 traces, expected 1"
        ),
        2,
    ),
    "the B3 trace id changed beside a constant traceparent": (
        (hop("svc1", traceparent(), *B3), hop("svc2", traceparent(), header("x-b3-traceid", OTHER)), SVC3),
        f"svc1 forwarded x-b3-traceid {TRACE} and svc2 received {OTHER}: what lies between them changed it",
        1,
    ),
    "no hop that received an id that can be read": (
        (
            hop("svc1", header("traceparent", PARENT.upper()), trace_id=""),
            hop("svc2", trace_id=""),
            last("svc3", trace_id=""),
        ),
        "no hop received a trace id that can be read: see the -H headers, and what stands in front of svc1",
        0,
    ),
    "the order of the services": (
        (SVC1, SVC3, SVC2),
        "the path was svc1, svc3, svc2, expected svc1, svc2, svc3",
        1,
    ),
    "a service too many": (
        (SVC1, SVC2, hop("svc3", traceparent()), last("svc4", traceparent())),
        "the path was svc1, svc2, svc3, svc4, expected svc1, svc2, svc3",
        1,
    ),
    "a service twice": ((SVC1, SVC2, SVC2, SVC3), "the path was svc1, svc2, svc2, svc3, expected svc1, svc2, svc3", 1),
    "svc2 answers by itself": (
        (SVC1, last("svc2", traceparent())),
        "svc2 answered by itself, expected svc3 after it",
        1,
    ),
    "no records at all": (
        (),
        "no hop left a record, so nothing shows where the trace went: set TALK_HOP_RECORDS=on, or give --traces",
        0,
    ),
}


@pytest.mark.parametrize(("hops", "problem", "traces"), BROKEN.values(), ids=BROKEN)
def test_a_trace_is_broken_with(hops: tuple[HopRecord, ...], problem: str, traces: int) -> None:
    judgement = judge(outcome(*hops), EXPECTED)
    assert (judgement.verdict, judgement.problems, judgement.traces) == ("broken", (problem,), traces)


@pytest.mark.parametrize(
    ("hops", "sent", "shown"),
    [
        ((), (("traceparent", PARENT),), TRACE),
        ((SVC1,), (("traceparent", PARENT.replace("4b", "5b")),), TRACE),
        ((hop("svc1", header("sw8", "1-dC5lLnM=-c-0-a-b-c-d"), trace_id="dC5lLnM="),), (), "dC5lLnM="),
        ((hop("svc1", trace_id=TRACE[16:]),), (), TRACE[16:].zfill(32)),
        ((), (("traceparent", "none"),), ""),
    ],
    ids=["only sent", "recorded", "another family's", "64 bits", "unreadable"],
)
def test_the_trace_id_is_the_first_recorded_else_the_one_sent(
    hops: tuple[HopRecord, ...], sent: tuple[tuple[str, str], ...], shown: str
) -> None:
    assert judge(outcome(*hops, sent=sent), EXPECTED).trace_id == shown


@pytest.mark.parametrize(
    ("hops", "none_came"),
    [
        ((), False),
        ((SVC1,), False),
        ((hop("svc1", trace_id=""), SVC2), True),
        ((SVC1, hop("svc2", trace_id="")), False),
    ],
)
def test_whether_a_trace_came_is_the_first_hop_s_word(hops: tuple[HopRecord, ...], none_came: bool) -> None:
    assert no_trace_came(outcome(*hops)) is none_came


def test_each_hop_that_dropped_it_is_named() -> None:
    third = "c" * 32
    hops = (
        without_traceparent("svc1"),
        hop("svc2", traceparent(OTHER, decision=SWITCHED_OFF), trace_id=OTHER),
        last("svc3", traceparent(third), trace_id=third),
    )
    assert judge(outcome(*hops), EXPECTED).problems == tuple(
        f"{service} received traceparent and did not forward it: 3 traces, expected 1 (its propagation is set to none)"
        for service in ("svc1", "svc2")
    )


def test_a_hop_that_dropped_baggage_is_not_blamed_for_a_trace_id_that_a_proxy_changed() -> None:
    hops = (
        SVC1,
        hop("svc2", traceparent(), header("baggage", "a=1", LEFT_OUT)),
        last("svc3", traceparent(OTHER), trace_id=OTHER),
    )
    assert judge(outcome(*hops), EXPECTED).problems == (
        "svc2 received baggage and did not forward it (missing from its own list)",
        (
            f"svc2 forwarded trace {TRACE} and svc3 received trace {OTHER}: "
            "what lies between them changed it, 2 traces, expected 1"
        ),
    )


def picture(*places: str) -> Picture:
    """One trace down these services."""
    spans = [make(TRACE, str(n), str(n - 1) if n else "", place, "", "server", n, n) for n, place in enumerate(places)]
    return Picture(tuple(spans), EXPECTED)


PICTURED: list[tuple[Outcome, Picture, str, tuple[str, ...]]] = [
    (outcome(SVC1, SVC2, SVC3), picture("ingress", *EXPECTED), "connected", ()),
    # Without records a trace backend is evidence enough.
    (outcome(), picture("ingress", *EXPECTED), "connected", ()),
    (outcome(), picture("ingress", "svc1"), "broken", ("the trace store shows no call svc1 > svc2, svc2 > svc3",)),
    (outcome(SVC1, SVC2, SVC3), picture(), "broken", ("the trace store holds no span of this call",)),
    # What a failed call did not reach left no span either: no word of that.
    (outcome(SVC1, status="UNAVAILABLE", message="m"), picture("ingress", "svc1"), "failed", ("UNAVAILABLE: m",)),
    (
        outcome(status="DEADLINE_EXCEEDED"),
        picture("requester", "ingress", "svc1", "svc2"),
        "failed",
        ("no answer within 5s: the deepest hop that left a span is svc2",),
    ),
    (outcome(status="DEADLINE_EXCEEDED"), picture(), "failed", ("no answer within 5s",)),
]


@pytest.mark.parametrize(("call", "seen", "verdict", "problems"), PICTURED)
def test_what_the_trace_backend_shows_counts(
    call: Outcome, seen: Picture, verdict: str, problems: tuple[str, ...]
) -> None:
    judgement = judge(call, EXPECTED, picture=seen)
    assert (judgement.verdict, judgement.problems) == (verdict, problems)


# An -H header counts as allowed where any hop's list names it: (fate at svc1, svc2, svc3), problems, notes.
CUSTOM: dict[str, tuple[tuple[int | None, ...], tuple[str, ...], tuple[str, ...]]] = {
    "forwarded by all": ((FORWARDED, FORWARDED, FORWARDED), (), ()),
    "not on svc2's list, but on svc1's": (
        (FORWARDED, UNLISTED, None),
        ("svc2 received x-lane and did not forward it (on none of its lists)",),
        (),
    ),
    "switched off at svc1": (
        (SWITCHED_OFF, None, None),
        ("svc1 received x-lane and did not forward it (its propagation is set to none)",),
        (),
    ),
    "refused at svc2, and named at svc1": (
        (FORWARDED, REFUSED, None),
        ("svc2 received x-lane and did not forward it (refused there)",),
        (),
    ),
    "on no list": ((UNLISTED, None, None), (), ("x-lane went no further than svc1 (on none of its lists)",)),
    "never allowed": ((REFUSED, None, None), (), ("x-lane went no further than svc1 (refused there)",)),
    "not on the last hop's list, which calls nobody": (
        (FORWARDED, FORWARDED, UNLISTED),
        (),
        ("svc3 is the last and would not forward x-lane",),
    ),
}


@pytest.mark.parametrize(("fates", "problems", "notes"), CUSTOM.values(), ids=CUSTOM)
def test_a_header_of_the_users_is(
    fates: tuple[int | None, ...], problems: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    lanes = [() if fate is None else (header("x-lane", "canary", fate),) for fate in fates]
    hops = (
        hop("svc1", traceparent(), *lanes[0]),
        hop("svc2", traceparent(), *lanes[1]),
        last("svc3", traceparent(), *lanes[2]),
    )
    judgement = judge(outcome(*hops), EXPECTED, {"x-lane"})
    assert (judgement.problems, judgement.notes) == (problems, notes)


FAILED: dict[str, tuple[Outcome, tuple[str, ...]]] = {
    "a later hop that does not answer": (
        outcome(SVC1, SVC2, status="UNAVAILABLE", message="svc2 -> svc3: Connection refused"),
        ("UNAVAILABLE: svc2 -> svc3: Connection refused",),
    ),
    "the caller's own deadline": (outcome(status="DEADLINE_EXCEEDED", message="whatever"), ("no answer within 5s",)),
    "a deadline that a hop reports": (
        outcome(SVC1, status="DEADLINE_EXCEEDED", message="svc1 -> svc2: late"),
        ("DEADLINE_EXCEEDED: svc1 -> svc2: late",),
    ),
    "a status without words": (outcome(SVC1, status="INTERNAL"), ("INTERNAL",)),
    "an answer that was not asked for": (
        outcome(SVC1, SVC2, SVC3, asked=(1,)),
        ("answer 1: idx '0', asked for '1'", "answer 1: data 'Hello', expected 'Bonjour'"),
    ),
    "no answer": (
        outcome(SVC1, SVC2, SVC3, responses=()),
        ("0 response messages, expected 1", "0 answers, expected 1"),
    ),
    "a failure and a header lost": (
        outcome(SVC1, without_traceparent("svc2"), status="UNAVAILABLE", message="svc2 -> svc3: no"),
        (
            "UNAVAILABLE: svc2 -> svc3: no",
            "svc2 received traceparent and did not forward it (its propagation is set to none)",
        ),
    ),
}


@pytest.mark.parametrize(("call", "problems"), FAILED.values(), ids=FAILED)
def test_a_call_failed_with(call: Outcome, problems: tuple[str, ...]) -> None:
    judgement = judge(call, EXPECTED)
    assert (judgement.verdict, judgement.problems) == ("failed", problems)


NOTES: dict[str, tuple[tuple[HopRecord, ...], tuple[str, ...]]] = {
    "a folded tracestate": (
        (hop("svc1", traceparent(), *STATES), hop("svc2", traceparent(), header("tracestate", "a=1,b=2")), SVC3),
        (
            "between svc1 and svc2: 2 tracestate headers were folded into one, comma-joined",
            "between svc2 and svc3: tracestate was lost",
        ),
    ),
    "duplicates in another order": (
        (hop("svc1", traceparent(), *STATES), hop("svc2", traceparent(), *reversed(STATES)), SVC3),
        (
            "between svc1 and svc2: tracestate headers changed their order",
            "between svc2 and svc3: tracestate was lost",
        ),
    ),
    "a hop without a record that lost one": (
        (hop("svc1", traceparent(), header("baggage", "a=1")), SVC3),
        ("svc2 left no record: unknown", "between svc1 and svc3 (svc2 left no record): baggage was lost"),
    ),
    "a shortened record": (
        (hop("svc1", traceparent(), *STATES), HopRecord(service="svc2", trace_id=TRACE, shortened=True), SVC3),
        ("the record of svc2 is shortened",),
    ),
    "no record of a call that succeeded": ((), ()),
}


@pytest.mark.parametrize(("hops", "notes"), NOTES.values(), ids=NOTES)
def test_it_is_told_and_breaks_nothing(hops: tuple[HopRecord, ...], notes: tuple[str, ...]) -> None:
    assert judge(outcome(*hops), EXPECTED).notes == notes


def test_what_the_edge_did_to_the_requesters_headers_is_told_but_for_the_request_id() -> None:
    sent = (("traceparent", PARENT), ("x-request-id", "1-4"), ("baggage", "a=1"), ("authorization", "secret"))
    first = hop(
        "svc1",
        traceparent(span_id="b" * 16),
        header("x-request-id", "1-9"),
        header("authorization", "", REFUSED),
    )
    assert judge(outcome(first, SVC2, SVC3, sent=sent), EXPECTED).notes == (
        "between the requester and svc1: baggage was lost",
        "between svc1 and svc2: x-request-id was lost",
    )


def test_a_key_missing_from_a_record_that_grew_too_long_is_not_called_lost() -> None:
    full = HopRecord(service="svc1", trace_id=TRACE, later_us=9, headers=(traceparent(),))
    sent = (("x-foo", "1"),)
    assert judge(outcome(full, SVC2, SVC3, sent=sent), EXPECTED).notes == (
        "between the requester and svc1: x-foo is missing, perhaps only from a record too long for it",
    )


def test_a_call_that_left_nothing_says_where_it_may_have_ended() -> None:
    notes = judge(outcome(status="UNAVAILABLE", message="Socket closed"), EXPECTED).notes
    assert notes == ("no hop left a record: the call did not reach the first one, or the connection to it was cut",)


def test_the_path_and_its_gaps_are_kept() -> None:
    judgement = judge(outcome(SVC1, SVC3), EXPECTED)
    assert judgement.path == ("svc1", "svc3")
    assert [(stop.service, stop.hop is None) for stop in judgement.stops] == [
        ("svc1", False),
        ("svc2", True),
        ("svc3", False),
    ]
