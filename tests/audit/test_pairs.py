"""The examples of a cut: which call in and which call out stand side by side, and why these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.pairs import MOST, MOST_EACH, Pair, pairs
from grpc_tracing.spans.model import Span
from tests.audit.traffic import MS, Traffic

SECONDS = 20.0


def found(*traffic: Traffic) -> tuple[Pair, ...]:
    """Of the first one's service."""
    spans = [span for one in traffic for span in one.spans()]
    ledger = Ledger()
    ledger.take(spans)
    ledger.close()
    (service,) = (one for one in judge(ledger).services if one.service == traffic[0].name)
    return pairs(traces(spans), service)


def traces(spans: Iterable[Span]) -> Iterable[list[Fact]]:
    by_id: defaultdict[str, list[Fact]] = defaultdict(list)
    for span in spans:
        by_id[span.trace_id].append(fact(span))
    return by_id.values()


def test_a_request_id_joins_a_call_in_with_its_own_call_out() -> None:
    made = found(Traffic(cuts=True, passes_id=True, seconds=SECONDS))
    assert len(made) == MOST_EACH
    for one in made:
        assert one.by_request_id
        assert one.call_in.request_id == one.call_out.request_id
        assert one.call_in.trace_id != one.call_out.trace_id
        assert one.call_out.start == one.call_in.start + MS, "as the traffic has it"


def test_by_time_the_call_out_begins_within_the_call_in_and_few_others_are_in() -> None:
    made = found(Traffic(cuts=True, seconds=SECONDS))
    assert {(one.called, one.out, one.instance) for one in made} == {("shop.Cart/Get", "stock", "cart-1")}
    for one in made:
        assert not one.by_request_id
        assert one.others == 0, "20 calls/s of 20 ms mostly come alone"
        assert one.call_in.start <= one.call_out.start <= one.call_in.end


@pytest.mark.full
def test_in_a_busy_pod_each_pair_says_how_many_others_were_in() -> None:
    traffic = Traffic(cuts=True, rate=200, length_ms=250, seconds=SECONDS)
    entered = [one for one in traffic.spans() if one.kind == "server"]
    made = found(traffic)
    assert made
    for one in made:
        open_then = [each for each in entered if each.start_ns <= one.call_out.start <= each.end_ns]
        assert one.others == len(open_then) - 1


@pytest.mark.full
def test_the_instances_each_have_their_own_and_only_those_that_cut() -> None:
    cuts = Traffic("cart", "cart-1", cuts=True, seconds=SECONDS), Traffic("cart", "cart-2", seconds=SECONDS, seed=2)
    assert {one.instance for one in found(*cuts)} == {"cart-1"}


@pytest.mark.full
def test_a_call_in_that_goes_on_is_no_example() -> None:
    traffic = Traffic(cuts=True, cut_share=0.5, seconds=60)
    made = found(traffic)
    whole = {one.trace_id for one in traffic.spans() if one.kind == "client" and one.parent_id}
    assert made
    assert not {one.call_in.trace_id for one in made} & whole


def test_behind_a_sidecar_the_sdks_span_stands_beside_the_sidecars() -> None:
    made = found(Traffic(sdk=True, behind=True, seconds=SECONDS))
    assert made
    assert {(one.call_in.layer, one.call_out.layer, one.out) for one in made} == {("sidecar", "sdk", "")}


@pytest.mark.parametrize("traffic", [Traffic(seconds=SECONDS), Traffic("mailer", rate=0, jobs=2, seconds=SECONDS)])
def test_who_does_not_cut_has_none(traffic: Traffic) -> None:
    assert found(traffic) == ()


@pytest.mark.full
def test_there_are_never_more_than_a_page_holds() -> None:
    many = [Traffic("cart", f"cart-{number}", cuts=True, seconds=SECONDS, seed=number) for number in range(20)]
    assert len(found(*many)) == MOST
