"""Windows that slide, counters that count each call once; no clock, no process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.audit.result import Audit, Word
from grpc_tracing.audit.sampling import Sampling
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.watch.core import Bounds, Dropped, Known
from grpc_tracing.watch.counts import ROUTES, SERVICES, CutBy, label
from grpc_tracing.watch.names import OTHER, Names
from grpc_tracing.watch.window import judged
from tests.audit.traffic import BEGIN, Traffic
from tests.watch.support import shifted

MINUTE = Bounds(window=60.0, step=10.0, settle=2.0)
CUTS = Traffic("cart", cuts=True, rate=8, seconds=60)
MENDED = Traffic("cart", rate=8, seconds=120, seed=2)


def known(bounds: Bounds = MINUTE, sampling: Sampling | None = None) -> Known:
    return Known(bounds, sampling)


def steps_of(spans: Sequence[Span], watch: Known, seconds: int) -> list[Audit]:
    """Plays them, each second those that ended in it, and judges at each step."""
    found = []
    facts = sorted(map(fact, spans), key=lambda one: one.end)
    for second in range(1, seconds + 1):
        until = BEGIN + second * 10**9
        due = [one for one in facts if one.end <= until]
        facts = facts[len(due) :]
        watch.take(due, float(second))
        watch.settle(float(second), 10**9)
        if second % watch.bounds.step == 0:
            steps = watch.turn(second - watch.bounds.step, float(second))
            audit = judged(steps, watch.sampling)
            watch.judge(audit, steps, 0.0)
            found.append(audit)
    return found


def word(audit: Audit, service: str = "cart") -> Word:
    return next(one.verdict for one in audit.services if one.service == service)


def moved(traffic: Traffic, seconds: int) -> list[Span]:
    return list(shifted(traffic.spans(), seconds * 10**9))


def test_each_call_is_counted_once_though_windows_overlap() -> None:
    watch = known()
    spans = [*CUTS.spans(), *moved(MENDED, 60)]
    steps_of(spans, watch, 190)
    out = [one for one in spans if one.kind.value == "client"]
    assert watch.counts.calls_out == {"cart": len(out)}
    cut = [one for one in out if not one.parent_id]
    assert watch.counts.begun == {"cart": len(cut)}
    assert watch.counts.cut.total() == len(cut)
    assert {by.service for by in watch.counts.cut} == {"cart"}
    assert watch.counts.cut[CutBy("cart", "shop.Cart/Get", "")] > 0.9 * len(cut), "the rest by any route"
    assert watch.spans == len(spans)


@pytest.mark.full
def test_counters_never_fall_and_the_verdict_follows_the_window() -> None:
    watch, seen = known(), []
    spans = [*CUTS.spans(), *moved(MENDED, 60)]
    facts = sorted(map(fact, spans), key=lambda one: one.end)
    totals = [0]
    for second in range(1, 181):
        due = [one for one in facts if (second - 1) * 10**9 < one.end - BEGIN <= second * 10**9]
        watch.take(due, float(second))
        watch.settle(float(second), 10**9)
        if second % 10 == 0:
            steps = watch.turn(second - 10.0, float(second))
            audit = judged(steps, None)
            watch.judge(audit, steps, 0.0)
            seen.append(word(audit))
            totals.append(watch.counts.cut.total())
            assert watch.window.held <= 60
    assert totals == sorted(totals)
    assert seen[1] is Word.CUTS, "named within two steps"
    assert {Word.CUTS, Word.PARTLY} & set(seen[5:7]), "the window still holds what it cut"
    assert set(seen[13:]) == {Word.WHOLE}, "mended for longer than a window"


@pytest.mark.full
def test_what_came_before_it_showed_is_counted_once_it_shows() -> None:
    """Four calls tell nothing; with the next ones they do."""
    watch = known()
    few = Traffic("cart", cuts=True, rate=0.4, seconds=10)
    spans = [*few.spans(), *moved(CUTS, 10)]
    audits = steps_of(spans, watch, 80)
    assert word(audits[0]) is not Word.CUTS
    assert watch.counts.cut.total() == watch.counts.begun["cart"]


@pytest.mark.full
def test_evidence_from_before_the_start_is_judged_and_not_counted() -> None:
    watch = known()
    steps_of(list(CUTS.spans()), watch, 60)
    (*_, last) = watch.window.steps
    other = known()
    for step in watch.window.steps:
        steps = other.add(replace(step, counts=step is last, counted=set()))
        audit = judged(steps, None)
        other.judge(audit, steps, 0.0)
    assert other.audit
    assert word(other.audit) is Word.CUTS
    counted = sum(outs.begun for group, outs in last.evidence.outs.items() if not group.arrives)
    assert (other.counts.begun["cart"], other.counts.cut.total()) == (counted, counted)


@pytest.mark.full
def test_two_watches_over_halves_of_the_instances_add_up_to_one_over_all() -> None:
    shops = [Traffic("cart", f"cart-{n}", cuts=True, rate=8, seconds=40, seed=n) for n in range(4)]
    spans = [list(shop.spans()) for shop in shops]
    whole, first, second = known(), known(), known()
    steps_of([span for shop in spans for span in shop], whole, 60)
    steps_of(spans[0] + spans[1], first, 60)
    steps_of(spans[2] + spans[3], second, 60)
    assert first.counts.calls_out + second.counts.calls_out == whole.counts.calls_out
    assert first.counts.cut + second.counts.cut == whole.counts.cut
    assert first.spans + second.spans == whole.spans


def test_a_trace_settles_before_it_counts_and_a_span_that_comes_twice_counts_once() -> None:
    watch = known()
    facts = list(map(fact, CUTS.spans()))
    assert watch.take(facts, 0.0) == {}
    assert watch.take(facts[:5], 1.0) == {Dropped.TWICE: 5}
    assert not watch.settle(1.9, 10**9)
    assert watch.traces == 0
    watch.settle(3.0, 10**9)
    assert (watch.settling.spans, watch.dropped[Dropped.TWICE]) == (0, 5)
    assert watch.turn(0.0, 10.0)[-1].evidence.spans == len(facts)


def test_spans_without_legal_ids_are_counted() -> None:
    watch = known()
    assert watch.take([None, None], 0.0) == {Dropped.BAD_IDS: 2}
    assert (watch.spans, watch.dropped[Dropped.BAD_IDS]) == (2, 2)


ENTERED = fact(next(iter(Traffic(seconds=10).spans())))


def one_of(number: int, service: str = "cart", route: str = "shop.Cart/Get") -> Fact:
    return ENTERED._replace(trace_id=f"{number:032x}", service=service, route=route, span_id=f"{number:016x}")


def test_above_its_spans_the_quietest_trace_is_judged_early() -> None:
    watch = known(Bounds(window=60, step=10, settle=100, spans=50))
    watch.take([one_of(number) for number in range(1, 81)], 0.0)
    watch.settle(0.0, 10**9)
    assert (watch.settling.spans, watch.settling.early, watch.traces) == (50, 30, 30)


def test_a_trace_that_never_ends_is_judged_in_parts() -> None:
    watch, first = known(Bounds(settle=100, spans=10**6)), one_of(1)
    watch.take([first._replace(span_id=f"{number:016x}") for number in range(1, 25_001)], 0.0)
    watch.settle(0.0, 10**9)
    assert (watch.settling.spans, watch.settling.early, watch.traces) == (5_000, 2, 2)


def test_above_its_bytes_the_window_gets_shorter_and_then_spans_are_dropped() -> None:
    watch = known(Bounds(window=600, step=10, settle=0, size=400_000))
    for step in range(4):
        for number in range(150):
            watch.take([one_of(step * 1_000 + number + 1, route=f"r{step}/{number}")], float(step * 10))
        watch.settle(step * 10.0 + 9, 10**9)
        watch.turn(step * 10.0, step * 10.0 + 10)
    assert watch.window.shortened == 2
    assert watch.held <= 400_000
    assert not watch.dropped
    watch.take([one_of(9_000 + n) for n in range(600)], 100.0)
    assert watch.take([one_of(10_000 + n) for n in range(7)], 100.0) == {Dropped.MEMORY: 7}
    assert watch.dropped[Dropped.MEMORY] == 7
    watch.settle(200.0, 10**9)
    watch.turn(40.0, 200.0)
    assert watch.take([one_of(11_000)], 200.0) == {}, "there is room again"


def test_names_are_so_many_and_no_more() -> None:
    names = Names(2)
    assert [names(one) for one in ("a", "b", "c", "a")] == ["a", "b", OTHER, "a"]
    assert names.folded == 1
    names.forget()
    assert names("c") == "c"


def test_series_are_so_many_and_no_more() -> None:
    watch = known()
    number = 0
    for service in range(SERVICES + 200):
        for _ in range(2):
            number += 1
            left = one_of(number, f"s{service}")
            watch.take([left._replace(kind=Kind.CLIENT, target="x", parent_id="")], 0.0)
    watch.settle(10.0, 10**9)
    watch.turn(0.0, 10.0)
    assert len(watch.counts.calls_out) == SERVICES + 1
    assert watch.counts.calls_out[OTHER] == 400
    assert watch.counts.calls_out.total() == 2 * (SERVICES + 200)
    assert ROUTES > SERVICES


@pytest.mark.parametrize("name", ["a\x00b", "a\u202eb", "x" * 1_000_000, "a\nb", '"quoted\\'])
def test_hostile_names_are_short_labels_that_parse(name: str) -> None:
    shown = label(name)
    assert len(shown) <= 200
    assert shown.isprintable()
