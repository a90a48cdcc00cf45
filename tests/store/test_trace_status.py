"""Whole, broken or arriving, and why: on spans written down as tables."""

from dataclasses import replace

import pytest

from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store.calls import Call
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.trace_status import ARRIVING_NS, Known, State, TraceStatus, trace_statuses
from grpc_tracing.store.wholeness import Judged
from tests.spans.test_tree import CHAIN, span

C, S = Kind.CLIENT, Kind.SERVER
LATER = 2 * ARRIVING_NS


def summary(trace_id: str, *spans: Span, request: str = "", changed: int = 0, cut: bool = False) -> Summary:
    attributes = (("guid:x-request-id", request),) if request else ()
    own = [replace(one, trace_id=trace_id, attributes=attributes) for one in spans]
    return summarize(assemble(own), changed_ns=changed, cut=cut)


def note(verdict: str, *trace_ids: str, problems: tuple[str, ...] = (), request: str = "") -> Call:
    return Call(request, trace_ids, "Talk", verdict, problems, ())


def stand(
    *summaries: Summary, calls: tuple[Call, ...] = (), now: int = LATER, judged: Judged | None = None, lost: int = 0
) -> dict[str, TraceStatus]:
    return trace_statuses(summaries, Known(now, calls, judged or Judged(), lost))


WHOLE = summary("w", *CHAIN)
UPPER, LOWER = CHAIN[:5], (span("f", "", "svc2", C, 30, 40), CHAIN[6])


def test_a_whole_trace_is_whole() -> None:
    assert stand(WHOLE)["w"] == TraceStatus(State.WHOLE, (False,), (), (), None)


def test_a_trace_that_begins_at_the_outbound_call_of_a_called_service_is_broken_and_says_who() -> None:
    statuses = stand(summary("a", *UPPER), summary("b", *LOWER))
    assert statuses["b"].state is State.BROKEN
    assert statuses["b"].reasons == ("svc2 called on without the trace headers: the trace begins at its outbound call",)
    assert statuses["a"].state is State.UNPROVEN, "nothing says that it is a piece of the same call, nor that it is not"
    assert statuses["a"].reasons == (
        "1 call from svc2 to n began a trace of its own: one of them may be the rest of this call",
    )


def test_a_service_that_nobody_calls_may_begin_a_trace() -> None:
    assert stand(summary("b", *LOWER))["b"].state is State.WHOLE


REASONS = [
    ("a missing parent", summary("t", *CHAIN[1:]), "ingress names a parent span that never came"),
    ("two pieces", summary("t", *CHAIN[:3], *CHAIN[4:]), "The trace falls into 2 pieces"),
]


@pytest.mark.parametrize(("one", "said"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS])
def test_what_is_missing_is_said(one: Summary, said: str) -> None:
    status = stand(one)["t"]
    assert status.state is State.BROKEN
    assert any(said in reason for reason in status.reasons)


@pytest.mark.parametrize(
    "calls",
    [(), (note("broken", "a", "b", problems=("svc2 did not forward it",)),)],
    ids=["by x-request-id", "by the requester's note too"],
)
def test_the_pieces_of_a_call_know_one_another(calls: tuple[Call, ...]) -> None:
    statuses = stand(summary("a", *UPPER, request="r"), summary("b", *LOWER, request="r"), WHOLE, calls=calls)
    assert (statuses["a"].state, statuses["b"].state) == (State.BROKEN, State.BROKEN)
    assert (statuses["a"].siblings, statuses["b"].siblings) == (("b",), ("a",))
    assert "One call left 2 traces behind; this is one of them" in statuses["a"].reasons
    assert statuses["w"].state is State.WHOLE


def test_without_a_request_id_the_requesters_note_joins_the_pieces() -> None:
    call = note("broken", "a", "b", problems=("svc2 did not forward it",))
    statuses = stand(summary("a", *UPPER), summary("b", *LOWER), calls=(call,))
    assert (statuses["a"].siblings, statuses["b"].siblings) == (("b",), ("a",))
    assert statuses["a"].call is call
    assert "svc2 did not forward it" in statuses["a"].reasons


def test_a_note_of_traces_that_never_came_harms_nobody() -> None:
    statuses = stand(WHOLE, calls=(note("connected", "w", "gone"),))
    assert (statuses["w"].state, statuses["w"].siblings) == (State.WHOLE, ())


def test_whole_traces_that_share_a_request_id_stay_whole() -> None:
    statuses = stand(summary("1", *CHAIN, request="r"), summary("2", *CHAIN, request="r"))
    assert [one.state for one in statuses.values()] == [State.WHOLE, State.WHOLE]
    assert statuses["1"].siblings == ("2",)


def test_the_requesters_verdict_counts_even_where_the_spans_hang_together() -> None:
    call = note("broken", problems=("svc2 received x-lane and did not forward it",), request="r")
    assert stand(summary("t", *CHAIN, request="r"), calls=(call,))["t"].state is State.BROKEN


def test_a_parent_of_the_users_own_breaks_no_call_that_the_requester_found_connected() -> None:
    kept = stand(summary("t", *CHAIN[1:]), calls=(note("connected", "t"),))["t"]
    assert (kept.state, kept.cut) == (State.WHOLE, (False,))
    torn = stand(summary("t", *CHAIN[1:3], *CHAIN[4:]), calls=(note("connected", "t"),))["t"]
    assert (torn.state, torn.cut) == (State.BROKEN, (True, True))


def test_the_newest_note_wins() -> None:
    newest, older = note("connected", "w"), note("broken", "w")
    assert stand(WHOLE, calls=(newest, older))["w"].call is newest


def test_what_lacks_a_span_is_arriving_first_and_broken_later() -> None:
    one = summary("t", *CHAIN[1:], changed=1000)
    assert stand(one, now=1000 + ARRIVING_NS - 1)["t"].state is State.ARRIVING
    assert stand(one, now=1000 + ARRIVING_NS)["t"].state is State.BROKEN


def test_traces_of_a_caller_that_always_sends_the_same_request_id_are_no_pieces_of_one_call() -> None:
    statuses = stand(*[summary(str(number), *CHAIN, request="always") for number in range(150)])
    assert {one.siblings for one in statuses.values()} == {()}


DOUBTS: list[tuple[str, Summary, tuple[Summary, ...], str]] = [
    ("the store cut it", summary("t", *CHAIN, cut=True), (), "longer than the store keeps"),
    (
        "its end is missing",
        summary("t", *CHAIN[:6]),
        (WHOLE,) * 20,
        "The call from svc2 to n left no span there; 20 of 21 did",
    ),
    ("others go on", summary("t", *CHAIN[:5]), (WHOLE,) * 20, "20 of 21 such calls go on from svc2 to"),
    ("a handled error", summary("t", *CHAIN[:6], replace(CHAIN[6], error=True)), (), "Spans of svc3 failed"),
]


@pytest.mark.parametrize(("one", "beside", "said"), [row[1:] for row in DOUBTS], ids=[row[0] for row in DOUBTS])
def test_what_hangs_together_need_not_be_the_whole_call(one: Summary, beside: tuple[Summary, ...], said: str) -> None:
    others = [replace(other, trace_id=str(number)) for number, other in enumerate(beside)]
    status = stand(one, *others)["t"]
    assert status.state is State.UNPROVEN
    assert any(said in reason for reason in status.reasons), status.reasons


def test_a_call_that_failed_is_never_whole() -> None:
    spans = [replace(one, error=True) for one in CHAIN]
    assert stand(summary("t", *spans))["t"].state is State.FAILED
    assert stand(WHOLE, calls=(note("failed", "w", problems=("UNAVAILABLE",)),))["w"].state is State.FAILED


def test_a_call_that_the_requester_could_not_prove_is_not_shown_whole() -> None:
    status = stand(WHOLE, calls=(note("unproven", "w", problems=("svc2 was not seen",)),))["w"]
    assert (status.state, status.reasons) == (State.UNPROVEN, ("svc2 was not seen",))


def test_the_requesters_records_show_a_call_whole_beside_others_that_are_torn() -> None:
    statuses = stand(summary("a", *UPPER), summary("b", *LOWER), calls=(note("connected", "a"),))
    assert (statuses["a"].state, statuses["b"].state) == (State.WHOLE, State.BROKEN)


def test_a_piece_whose_call_is_known_is_the_rest_of_no_other() -> None:
    torn = [summary("a", *UPPER, request="r"), summary("b", *LOWER, request="r")]
    statuses = stand(*torn, summary("c", *UPPER))
    assert (statuses["a"].state, statuses["c"].state) == (State.BROKEN, State.WHOLE)


def test_traces_of_the_time_when_a_piece_was_dropped_are_not_shown_whole() -> None:
    before, after = summary("t", *CHAIN, changed=5), summary("u", *CHAIN, changed=5 + 2 * ARRIVING_NS)
    statuses = stand(before, after, now=2**63, lost=5)
    assert (statuses["t"].state, statuses["u"].state) == (State.UNPROVEN, State.WHOLE)
    assert "dropped traces of that time" in statuses["t"].reasons[0]


JOB = (replace(span("j", "", "svc2", C, 500, 10), name="Purge"),)


def test_a_call_that_a_service_begins_while_none_came_in_is_no_broken_one() -> None:
    statuses = stand(WHOLE, summary("j", *JOB))
    assert statuses["j"].state is State.UNPROVEN
    assert "a job, or a call in without a span" in statuses["j"].reasons[0]
    assert statuses["j"].cut == (False,)
    assert statuses["w"].state is State.UNPROVEN, "it may have lost such a call"


def test_what_the_audit_found_decides() -> None:
    traces = [WHOLE, summary("j", *JOB)]
    job = stand(*traces, judged=Judged(jobs=("svc2",)))
    assert (job["j"].state, job["w"].state) == (State.WHOLE, State.WHOLE)
    cutter = stand(*traces, judged=Judged(cutters=("svc2",)))
    assert cutter["j"].state is State.BROKEN


def test_a_call_that_was_tried_again_left_one_trace_whose_last_attempt_counts() -> None:
    refused = span("x", "b", "svc1", S, 12, 2, error=True)
    one = summary("t", *CHAIN[:2], refused, *CHAIN[2:])
    assert stand(one, WHOLE)["t"].state is State.WHOLE
    (edge,) = [edge for edge in one.edges if edge.callee == "svc1"]
    assert (edge.duration_ns, edge.own_ns, edge.error, edge.retries) == (80, 20, False, 1)
    assert next(edge.own_ns for edge in one.edges if edge.callee == "ingress") == 20


def test_a_client_that_calls_again_with_the_same_request_id_tears_no_trace() -> None:
    statuses = stand(summary("1", *CHAIN[1:], request="r"), summary("2", *CHAIN, request="r"))
    assert (statuses["1"].state, statuses["2"].state) == (State.BROKEN, State.WHOLE)
    assert not any("One call left" in reason for one in statuses.values() for reason in one.reasons)
