"""The table of causes: each has a case that brings it about, and a row in the troubleshooting guide in its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chain import topology
from client.call.run import Judged, Run, _unsampled
from client.call.verdict import Judgement, Question, judge
from grpc_tracing.evidence.causes import CAUSES
from grpc_tracing.evidence.links import Context
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.evidence.seen import Seen
from grpc_tracing.headers.forwarding import Decision
from grpc_tracing.spans.model import Span
from tests.client.evidence import OTHER, TRACE, header, hop, last, outcome, traceparent
from tests.evidence.test_picture import MESH, U, span
from tests.support.processes import ROOT

EXPECTED = ("svc1", "svc2", "svc3")
SVC1, SVC2, SVC3 = hop("svc1", traceparent()), hop("svc2", traceparent()), last("svc3", traceparent())
SPIFFE = "spiffe://cluster.local/ns/grpc-tracing/sa/"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def by_records(*hops: HopRecord, sent: tuple[tuple[str, str], ...] = (), **question: object) -> Judgement:
    asked = Question(**{"expected": EXPECTED} | question)  # type: ignore[arg-type]
    return judge(outcome(*hops, sent=sent), asked, Context(sent=sent, calls_of={TRACE: 1, OTHER: 2}))


def by_spans(*spans: Span, pieces: tuple[Span, ...] = (), ids: tuple[str, ...] = ()) -> Judgement:
    picture = Picture(spans, EXPECTED, sent="a", exported=True, prefix=topology.HOST_PREFIX)
    return judge(outcome(), Question(expected=EXPECTED), seen=Seen(picture, pieces, request_ids=frozenset(ids)))


def unsampled() -> list[str]:
    flags = header("traceparent", f"00-{TRACE}-00f067aa0ba902b7-00")
    call = outcome(hop("svc1", flags), hop("svc2", flags), last("svc3", flags))
    judged = Judged(call, judge(call, Question(expected=EXPECTED)))
    return [one.cause.name for one in Run("t", (judged,), _unsampled((judged,))).unproven]


def the_edge_took_the_sampling_back(sampled: str) -> Judgement:
    """As a gateway does that samples a part: it writes the family that it speaks, and passes B3 on as it was sent."""
    sent = (("traceparent", f"00-{TRACE}-{'a' * 16}-01"), *B3)
    flags = (header("traceparent", f"00-{TRACE}-00f067aa0ba902b7-{sampled}"), *b3(TRACE))
    return by_records(hop("svc1", *flags), hop("svc2", *flags), last("svc3", *flags), sent=sent)


B3 = (("x-b3-traceid", TRACE), ("x-b3-spanid", "b" * 16), ("x-b3-sampled", "1"))


def b3(trace: str) -> tuple[Header, ...]:
    return header("x-b3-traceid", trace), header("x-b3-spanid", "b" * 16), header("x-b3-sampled", "1")


TORN = span("g", "svc2", trace=U, kind="client")
CASES: dict[str, Callable[[], Judgement]] = {
    "call-failed": lambda: judge(outcome(SVC1, status="UNAVAILABLE", message="refused"), Question(expected=EXPECTED)),
    "no-answer": lambda: judge(outcome(status="DEADLINE_EXCEEDED"), Question(expected=EXPECTED)),
    "went-away": lambda: judge(
        outcome(status="UNAVAILABLE"),
        Question(expected=EXPECTED),
        seen=Seen(Picture((*MESH[:5], replace(MESH[5], attributes=(("response_flags", "UC"),))), EXPECTED)),
    ),
    "wrong-answers": lambda: judge(outcome(SVC1, SVC2, SVC3, responses=()), Question(expected=EXPECTED)),
    "unreadable-answers": lambda: judge(outcome(SVC1, SVC2, SVC3, unreadable=1), Question(expected=EXPECTED)),
    "not-forwarded": lambda: by_records(
        SVC1, hop("svc2", traceparent(decision=Decision.SWITCHED_OFF)), last("svc3", trace_id="")
    ),
    "lost-on-the-way": lambda: by_records(SVC1, hop("svc2", trace_id=""), last("svc3", trace_id="")),
    "new-trace": lambda: judge(
        outcome(SVC1, last("svc3", traceparent(OTHER), trace_id=OTHER)), Question(expected=EXPECTED)
    ),
    "another-calls-headers": lambda: by_records(SVC1, last("svc3", traceparent(OTHER), trace_id=OTHER)),
    "one-family-copied": lambda: judge(
        outcome(
            hop("svc1", traceparent(), *b3(TRACE)),
            last("svc3", traceparent(OTHER), *b3(TRACE), trace_id=OTHER, peer=f"{SPIFFE}svc2"),
        ),
        Question(expected=EXPECTED),
    ),
    "two-traces-named": lambda: by_records(
        hop("svc1", traceparent(), *b3(OTHER)),
        hop("svc2", traceparent(), *b3(OTHER)),
        last("svc3", traceparent(), *b3(OTHER)),
    ),
    "unreadable-value": lambda: by_records(SVC1, hop("svc2", header("traceparent", PARENT.upper()), trace_id="")),
    "id-cut": lambda: by_records(
        hop("svc1", *b3(TRACE)),
        hop("svc2", *b3(TRACE[16:]), trace_id=TRACE[16:]),
    ),
    "sampling-lost": lambda: by_records(SVC1, hop("svc2", header("traceparent", f"{PARENT[:-1]}0"))),
    "header-lost": lambda: by_records(
        hop("svc1", traceparent(), header("x-lane", "a")), SVC2, SVC3, required=("x-lane",)
    ),
    "around-the-sidecar": lambda: by_records(replace(SVC1, peer=f"{SPIFFE}ingress"), replace(SVC2, peer="unix:"), SVC3),
    "answered-by-itself": lambda: by_records(SVC1, last("svc2", traceparent())),
    "another-path": lambda: by_records(SVC1, SVC3, SVC2),
    "no-trace-id": lambda: by_records(hop("svc1", trace_id=""), hop("svc2", trace_id=""), last("svc3", trace_id="")),
    "torn-trace": lambda: by_spans(
        *MESH[:6], pieces=(replace(TORN, attributes=(("guid:x-request-id", "r"),)),), ids=("r",)
    ),
    "no-header-forwarded": lambda: by_spans(*MESH[:6], pieces=(TORN,)),
    "no-call-made": lambda: by_spans(*MESH[:6]),
    "spans-not-exported": lambda: by_spans(*MESH[:6], span("g", "svc2", "x", kind="client"), MESH[7]),
    "several-roots": lambda: by_spans(*MESH[:5], span("f", "svc2"), *MESH[6:]),
    "no-records": by_records,
    "unseen-hop": lambda: by_records(SVC1),
    "first-hop-unseen": lambda: by_records(SVC2, SVC3),
    "record-shortened": lambda: by_records(SVC1, HopRecord(service="svc2", trace_id=TRACE, shortened=True), SVC3),
    "record-contradicts-itself": lambda: by_records(SVC1, hop("svc2", traceparent(), trace_id=OTHER), SVC3),
    "no-spans": by_spans,
    "spans-missing": lambda: by_spans(*MESH[:7]),
    "spans-late": lambda: by_spans(*MESH[:5], *MESH[6:]),
    "backend-unread": lambda: by_records(SVC1, unread="nothing answers"),
    "other-names": lambda: by_spans(*(replace(one, service=f"shop-{one.service}") for one in MESH)),
}


@pytest.mark.parametrize("name", [name for name in CAUSES if name != "not-sampled"])
def test_each_cause_has_a_case_that_brings_it_about(name: str) -> None:
    judgement = CASES[name]()
    assert name in [one.cause.name for one in (*judgement.failures, *judgement.findings)], judgement.problems
    assert judgement.verdict == CAUSES[name].means
    assert any(problem.endswith(f"[{name}]") for problem in judgement.problems)


def test_a_run_of_which_nothing_was_sampled_is_a_case_too() -> None:
    assert unsampled() == ["not-sampled"]


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_each_cause_has_its_row_in_the_guide_under_the_very_words(cause: object) -> None:
    from grpc_tracing.evidence.causes import Cause

    assert isinstance(cause, Cause)
    guide = (ROOT / "docs" / "troubleshooting.md").read_text()
    row = guide.partition(f"\n### {cause.name}\n")[2].partition("\n### ")[0]
    for words in (cause.sentence, cause.shown_by, cause.fix):
        assert words in row, f"{cause.name}: {words}"


def test_what_the_edge_decided_counts_and_not_what_it_passed_on() -> None:
    assert the_edge_took_the_sampling_back("00").unsampled == ("svc1", "traceparent")
    assert the_edge_took_the_sampling_back("00").verdict == "connected"
    assert the_edge_took_the_sampling_back("01").unsampled is None
