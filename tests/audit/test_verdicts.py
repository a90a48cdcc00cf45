"""A word for each service, from the spans of its traffic alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from grpc_tracing.audit.facts import fact
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit, Service, Word
from grpc_tracing.audit.sampling import Sampling, stated
from grpc_tracing.spans.model import Kind
from tests.audit.traffic import Traffic

WHOLE = Traffic()
CUT = Traffic(cuts=True)
BUSY = Traffic(cuts=True, rate=50, length_ms=100)
JOB = Traffic(jobs=20)
NO_CALLS_IN = Traffic(rate=0, jobs=5)


def audit(*traffic: Traffic, sampling: Sampling | None = None) -> Audit:
    """Of the spans of all of it, in random order."""
    spans = [span for one in traffic for span in one.spans()]
    random.Random(7).shuffle(spans)  # noqa: S311
    ledger = Ledger()
    ledger.take(spans)
    ledger.close()
    return judge(ledger, sampling=sampling)


def only(*traffic: Traffic, sampling: Sampling | None = None) -> Service:
    (found,) = audit(*traffic, sampling=sampling).services
    return found


WORDS: dict[str, tuple[tuple[Traffic, ...], Word]] = {
    "it passes headers on": ((WHOLE,), Word.WHOLE),
    "it passes none on": ((CUT,), Word.CUTS),
    "it passes none on, and is always busy": ((BUSY,), Word.CUTS),
    "it has a job, and nothing tells the sampling": ((JOB,), Word.CANNOT_TELL),
    "it has a job beside a service that cuts": ((JOB, replace(CUT, name="shop")), Word.JOB),
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
    found = {one.service: one.verdict for one in audit(*traffic).services}
    assert found["cart"] is word


@pytest.mark.parametrize("share", [0.2, 0.05])
def test_a_few_cut_calls_of_a_pod_that_is_always_busy_are_told_by_the_calls_in_that_go_on_to_nothing(
    share: float,
) -> None:
    """50 calls are in at any time: of all of them, those that go on made another call out."""
    busy = Traffic(cuts=True, cut_share=share, rate=200, length_ms=250, seconds=30, pause_ms=240)
    found = only(busy)
    assert found.verdict is Word.PARTLY
    assert found.cut == pytest.approx(share * 200 * 30, rel=0.25)


def test_a_job_beside_calls_in_of_which_a_few_go_on_to_nothing_is_not_named() -> None:
    """Calls in that are answered at once, as from a cache, are few for chance to meet, and it meets no more of them."""
    whole, answered = Traffic(rate=200, length_ms=250, jobs=20), Traffic(rate=10, length_ms=250)
    ledger = Ledger()
    ledger.take(whole.spans())
    ledger.take(span for span in answered.spans() if span.kind is Kind.SERVER)
    ledger.close()
    (found,) = judge(ledger, sampling=stated("100%")).services
    assert found.cut == 0


@pytest.mark.parametrize("traffic", [JOB, Traffic(jobs=5, job_target="smtp")], ids=["beside calls", "to another"])
def test_a_job_is_told_where_the_sampling_is_stated(traffic: Traffic) -> None:
    assert only(traffic, sampling=stated("100%")).verdict is Word.JOB


def test_a_sampling_so_low_that_a_cut_would_not_show_makes_no_job() -> None:
    found = only(JOB, sampling=stated("1%"))
    assert found.verdict is Word.CANNOT_TELL
    assert found.needs
    assert found.needs.calls > found.begun


def test_a_cutter_of_whose_calls_one_in_a_hundred_is_sampled_is_no_job() -> None:
    found = audit(replace(CUT, rate=200, sampling=0.01, seconds=120))
    (cutter,) = found.services
    assert (cutter.verdict, found.exit_code) == (Word.CANNOT_TELL, 3)
    assert cutter.needs
    assert cutter.begun > 100


def test_request_ids_that_go_on_tell_no_sampling_for_they_carry_the_decision() -> None:
    few = replace(CUT, rate=200, sampling=0.01)
    found = audit(replace(few, name="shop", passes_id=True), few)
    assert {one.service: one.verdict for one in found.services} == {"shop": Word.CUTS, "cart": Word.CANNOT_TELL}
    assert found.sampling is None


@pytest.mark.parametrize("sampling", [1.0, 0.2])
def test_the_beats_of_a_timer_tell_the_sampling_and_make_it_a_job(sampling: float) -> None:
    found = audit(Traffic(rate=5, beat=0.5, seconds=1200, sampling=sampling))
    assert [one.verdict for one in found.services] == [Word.JOB]
    assert found.exit_code == 0
    assert found.sampling
    assert found.sampling.rate == pytest.approx(sampling, abs=0.06)
    assert found.sampling.least < sampling


@pytest.mark.parametrize("sampling", [1.0, 0.3])
def test_an_uneven_timer_tells_how_much_is_sampled_at_the_least(sampling: float) -> None:
    """Its calls are off by up to a whole beat."""
    found = audit(Traffic(rate=5, beat=0.5, uneven=1.0, seconds=1200, sampling=sampling))
    assert found.sampling
    assert 0.5 * sampling < found.sampling.rate < sampling + 0.1
    assert found.sampling.least < sampling
    assert (found.services[0].verdict, found.exit_code) == (Word.JOB, 0)


@pytest.mark.parametrize("seed", range(10))
def test_calls_out_at_random_have_no_beat(seed: int) -> None:
    found = audit(Traffic(jobs=1, seconds=600, rate=1, seed=seed))
    assert found.sampling is None


def test_a_timer_beside_a_cut_of_which_one_in_a_hundred_is_sampled_makes_no_job_of_it() -> None:
    few = replace(CUT, rate=200, sampling=0.01)
    words = {one.service: one.verdict for one in audit(few, Traffic(name="shop", beat=1, sampling=0.2)).services}
    assert words["cart"] is Word.CANNOT_TELL


def test_an_instance_that_continues_no_call_in_where_its_fellows_do_is_named_by_fewer_calls() -> None:
    """Of one call in 25: what time alone tells would not do."""
    few = Traffic(rate=20, sampling=0.04, seconds=120, length_ms=100, seed=11)
    fellows = [replace(few, instance=f"cart-{number}") for number in (2, 3)]
    alone, beside = only(replace(few, cuts=True)), only(replace(few, cuts=True), *fellows)
    assert alone.verdict is Word.CANNOT_TELL
    assert (beside.verdict, beside.instances[0].instance) == (Word.PARTLY, "cart-1")


def test_calls_out_of_an_instance_without_calls_in_are_no_job() -> None:
    found = only(WHOLE, replace(NO_CALLS_IN, instance="cart-2"), sampling=stated("1"))
    assert found.verdict is Word.CANNOT_TELL


def test_a_request_id_that_goes_on_alone_makes_few_calls_certain() -> None:
    few = only(Traffic(cuts=True, passes_id=True, rate=0.1, seed=3))
    assert (few.verdict, few.cut, few.by_request_id) == (Word.CUTS, few.calls_out, few.calls_out)
    assert few.examples
    assert few.cut < 20


def test_the_rpc_that_cuts_is_told_from_the_one_that_does_not() -> None:
    found = only(Traffic(cuts=True, rpc="shop.Cart/Watch"), WHOLE)
    words = {route.called: route.verdict for route in found.routes}
    assert words == {"shop.Cart/Watch": Word.CUTS, "shop.Cart/Get": Word.WHOLE}


def test_an_rpc_whose_calls_go_on_is_not_named_for_being_in_whenever_the_one_that_cuts_is() -> None:
    found = only(Traffic(cuts=True, rpc="shop.Cart/Watch", twin=True))
    words = {route.called: route.verdict for route in found.routes}
    assert words == {"shop.Cart/Watch": Word.CUTS, "shop.Cart/List": Word.WHOLE}


def test_the_instance_that_cuts_is_named_first() -> None:
    found = only(Traffic(cuts=True, instance="cart-9", version="v41"), Traffic(instance="cart-1"))
    assert found.instances[0].instance == "cart-9"
    assert [one.cut == one.calls_out for one in found.instances] == [True, False]


def released(*releases: tuple[str, float, bool]) -> Service:
    """Versions of one service, each with an instance of its own: its name, the second in which it began, if it cuts."""
    ledger = Ledger()
    for version, second, cuts in releases:
        traffic = Traffic(version=version, instance=f"cart-{version}", cuts=cuts, rate=10, seconds=20)
        later = int(second * 1e9)
        ledger.take(replace(one, start_ns=one.start_ns + later, end_ns=one.end_ns + later) for one in traffic.spans())
    ledger.close()
    (found,) = judge(ledger).services
    return found


@pytest.mark.parametrize(
    ("releases", "since"),
    [
        ([("v40", 0, False), ("v41", 20, True)], "v41"),
        ([("v40", 0, False), ("v41", 20, True), ("v42", 40, True)], "v41"),
        ([("v39", 0, False), ("v40", 20, False), ("v41", 30, True)], "v41"),
        ([("v40", 0, True), ("v41", 20, True)], None),
        ([("v40", 0, True), ("v41", 20, False)], None),
        ([("v40", 0, False), ("v41", 20, True), ("v42", 40, False)], None),
        ([("", 0, False), ("v41", 20, True)], None),
    ],
)
def test_a_cut_that_began_with_a_version_names_it(releases: list[tuple[str, float, bool]], since: str | None) -> None:
    assert released(*releases).since == since


def test_the_hash_of_a_pods_template_stands_for_a_version() -> None:
    whole = Traffic(instance="cart-7d9f8c6b5c-x2w4z", version="latest")
    assert {fact(span).version for span in whole.spans()} == {"7d9f8c6b5c"}
    assert {fact(span).version for span in replace(whole, version="v7").spans()} == {"v7"}
    assert {fact(span).version for span in replace(whole, instance="cart-abc-0").spans()} == {"latest"}


def test_a_cut_in_an_sdk_is_inside_the_service() -> None:
    assert only(Traffic(cuts=True, sdk=True)).where == "inside"


def test_a_cut_behind_a_whole_sdk_span_is_on_the_way_out() -> None:
    assert only(Traffic(sdk=True), CUT).where == "out"


def test_a_cut_between_the_sidecar_and_the_sdk_is_on_the_way_in() -> None:
    found = only(Traffic(sdk=True, behind=True))
    assert (found.verdict, found.where) == (Word.CUTS, "in")


def test_an_sdk_without_a_sidecar_may_begin_traces() -> None:
    assert only(Traffic(sdk=True)).verdict is Word.WHOLE


def test_a_service_that_is_called_and_leaves_no_spans_for_it_is_no_job() -> None:
    calling = replace(NO_CALLS_IN, name="shop", job_target="cart")
    words = {one.service: one.verdict for one in audit(NO_CALLS_IN, calling).services}
    assert words == {"cart": Word.CANNOT_TELL, "shop": Word.JOB}


def test_what_cannot_be_told_says_how_many_more_calls_it_needs() -> None:
    found = only(Traffic(jobs=0.05))
    assert found.needs
    assert found.needs.calls >= 10


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
