"""Whole, broken or arriving, and why: on spans written down as tables."""

import pytest

from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store.calls import Call
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.trace_status import ARRIVING_NS, State, TraceStatus, trace_statuses
from tests.spans.test_tree import CHAIN, span

C, S = Kind.CLIENT, Kind.SERVER
LATER = 2 * ARRIVING_NS


def summary(trace_id: str, *spans: Span, request: str = "", changed: int = 0, cut: bool = False) -> Summary:
    from dataclasses import replace

    attributes = (("guid:x-request-id", request),) if request else ()
    own = [replace(one, trace_id=trace_id, attributes=attributes) for one in spans]
    return summarize(assemble(own), changed_ns=changed, cut=cut)


def note(verdict: str, *trace_ids: str, problems: tuple[str, ...] = (), request: str = "") -> Call:
    return Call(request, trace_ids, "Talk", verdict, problems, ())


def stand(*summaries: Summary, calls: tuple[Call, ...] = (), now: int = LATER) -> dict[str, TraceStatus]:
    return trace_statuses(summaries, calls, now)


WHOLE = summary("w", *CHAIN)
UPPER, LOWER = CHAIN[:5], (span("f", "", "svc2", C, 30, 40), CHAIN[6])


def test_a_whole_trace_is_whole() -> None:
    assert stand(WHOLE)["w"] == TraceStatus(State.WHOLE, (False,), (), (), None)


def test_a_trace_that_begins_at_the_outbound_call_of_a_called_service_is_broken_and_says_who() -> None:
    statuses = stand(summary("a", *UPPER), summary("b", *LOWER))
    assert statuses["b"].state is State.BROKEN
    assert statuses["b"].reasons == ("svc2 called on without the trace headers: the trace begins at its outbound call",)
    assert statuses["a"].state is State.WHOLE, "nothing says that it is a piece of the same call"


def test_a_service_that_nobody_calls_may_begin_a_trace() -> None:
    assert stand(summary("b", *LOWER))["b"].state is State.WHOLE


REASONS = [
    ("a missing parent", summary("t", *CHAIN[1:]), "ingress names a parent span that never came"),
    ("two pieces", summary("t", *CHAIN[:3], *CHAIN[4:]), "The trace falls into 2 pieces"),
    ("cut by the store", summary("t", *CHAIN, cut=True), "longer than the store keeps"),
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
