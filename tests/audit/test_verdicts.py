"""A word for each service, from the spans of its traffic alone."""

from __future__ import annotations

import random

import pytest

from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit, Service, Word
from tests.audit.traffic import Traffic

WHOLE = Traffic()
CUT = Traffic(cuts=True)
BUSY = Traffic(cuts=True, rate=50, length_ms=100)
NO_CALLS_IN = Traffic(rate=0, jobs=5)


def audit(*traffic: Traffic) -> Audit:
    """Of the spans of all of it, in random order."""
    spans = [span for one in traffic for span in one.spans()]
    random.Random(7).shuffle(spans)  # noqa: S311
    ledger = Ledger()
    ledger.take(spans)
    ledger.close()
    return judge(ledger)


def only(*traffic: Traffic) -> Service:
    (found,) = audit(*traffic).services
    return found


WORDS: dict[str, tuple[tuple[Traffic, ...], Word]] = {
    "it passes headers on": ((WHOLE,), Word.WHOLE),
    "it passes none on": ((CUT,), Word.CUTS),
    "it passes none on, and is always busy": ((BUSY,), Word.CUTS),
    "it has a job beside calls that go on": ((Traffic(jobs=20),), Word.JOB),
    "it has a job to another service": ((Traffic(jobs=5, job_target="smtp"),), Word.JOB),
    "it has a job alone": ((NO_CALLS_IN,), Word.JOB),
    "too few of its calls out began traces": ((Traffic(jobs=0.05),), Word.CANNOT_TELL),
    "one instance of three cuts": (
        (Traffic(cuts=True, rate=5), Traffic(instance="cart-2", rate=5), Traffic(instance="cart-3", rate=5)),
        Word.PARTLY,
    ),
    "one RPC of two cuts": ((Traffic(cuts=True, rpc="shop.Cart/Watch"), WHOLE), Word.CUTS),
    "its SDK loses the context": ((Traffic(cuts=True, sdk=True),), Word.CUTS),
    "it passes the request id alone on": ((Traffic(cuts=True, passes_id=True),), Word.CUTS),
}


@pytest.mark.parametrize("what", WORDS)
def test_a_service_gets_the_word_that_its_spans_earn(what: str) -> None:
    traffic, word = WORDS[what]
    assert only(*traffic).verdict is word


def test_a_request_id_that_goes_on_alone_makes_few_calls_certain() -> None:
    few = only(Traffic(cuts=True, passes_id=True, rate=0.1, seed=3))
    assert (few.verdict, few.cut, few.by_request_id) == (Word.CUTS, few.calls_out, few.calls_out)
    assert few.examples
    assert few.cut < 20


def test_the_rpc_that_cuts_is_told_from_the_one_that_does_not() -> None:
    found = only(Traffic(cuts=True, rpc="shop.Cart/Watch"), WHOLE)
    words = {route.called: route.verdict for route in found.routes}
    assert words == {"shop.Cart/Watch": Word.CUTS, "shop.Cart/Get": Word.WHOLE}


def test_the_instance_that_cuts_is_named_first() -> None:
    found = only(Traffic(cuts=True, instance="cart-9", version="v41"), Traffic(instance="cart-1"))
    assert found.instances[0].instance == "cart-9"
    assert [one.cut == one.calls_out for one in found.instances] == [True, False]


def test_a_cut_in_an_sdk_is_inside_the_service() -> None:
    assert only(Traffic(cuts=True, sdk=True)).where == "inside"


def test_a_cut_behind_a_whole_sdk_span_is_on_the_way_out() -> None:
    assert only(Traffic(sdk=True), CUT).where == "out"


def test_what_cannot_be_told_says_how_many_more_calls_it_needs() -> None:
    assert (only(Traffic(jobs=0.05)).needs or 0) >= 10


@pytest.mark.parametrize(
    ("traffic", "verdict", "code"),
    [(CUT, "cuts", 1), (WHOLE, "whole", 0), (Traffic(jobs=0.05), "unproven", 3), (Traffic(rate=0), "unproven", 2)],
)
def test_the_audit_has_a_word_and_an_exit_code(traffic: Traffic, verdict: str, code: int) -> None:
    found = audit(traffic)
    assert (found.verdict, found.exit_code) == (verdict, code)


def test_what_was_not_read_makes_nothing_whole() -> None:
    ledger = Ledger()
    ledger.take(WHOLE.spans())
    ledger.close()
    found = judge(ledger, ["half of it"])
    assert (found.verdict, found.exit_code) == ("unproven", 3)


def test_the_order_of_spans_does_not_matter() -> None:
    ledger = Ledger()
    ledger.take(span for one in (CUT, Traffic("feed", jobs=5)) for span in one.spans())
    ledger.close()
    assert {(one.service, one.verdict) for one in judge(ledger).services} == {
        (one.service, one.verdict) for one in audit(CUT, Traffic("feed", jobs=5)).services
    }
