"""Numbers and geometry behind the pictures."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpc_tracing.spans.model import Event, Kind, Span
from grpc_tracing.spans.tree import Edge, assemble
from grpc_tracing.store import render
from grpc_tracing.store.axis import SCALE
from grpc_tracing.store.chosen import Chosen, groups
from grpc_tracing.store.folded import PathRow, paths
from grpc_tracing.store.graph import NODE_HEIGHT, NODE_WIDTH, Picture, Topology, layout, topology
from grpc_tracing.store.listing import Filter, Wanted, list_view
from grpc_tracing.store.stats import percentile
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.trace_status import State
from grpc_tracing.store.views import events_view
from grpc_tracing.store.views_many import paths_view, topology_view
from grpc_tracing.store.waterfall import AT_ONCE, MOST_EVENTS, MOST_ROWS, for_file, for_page, waterfall
from tests.spans.test_tree import CHAIN, GRAPHS, span
from tests.store.test_trace_status import LATER, LOWER, UPPER, WHOLE, stand, summary


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (1, 1)])
def test_percentiles_are_measured_values(percent: int, value: int) -> None:
    assert percentile(np.arange(1, 101), percent) == value
    assert percentile(np.array([7]), percent) == 7


def edge(took: int, *, error: bool = False) -> Edge:
    return Edge(("a", "b"), 0, took, took, error, seen=True)


def chosen(*summaries: Summary, now: int = LATER) -> Chosen:
    return Chosen.of(summaries, stand(*summaries, now=now))


def test_a_load_counts_calls_errors_and_latencies() -> None:
    made = replace(WHOLE, edges=(edge(30), edge(10, error=True), edge(20), edge(40)))
    among = chosen(made)
    (one,) = groups(among, among.places).values()
    load = one.load
    assert (load.count, load.errors, load.error_rate, load.p50_ns, load.p99_ns) == (4, 1, 0.25, 20, 40)


def folded(*summaries: Summary) -> tuple[PathRow, ...]:
    return paths(chosen(*summaries))


def drawn(*summaries: Summary) -> Topology:
    return topology(chosen(*summaries))


def test_paths_fold_into_a_tree_whose_shares_make_a_whole() -> None:
    canary = (*CHAIN[:6], span("g", "f", "svc3", Kind.SERVER, 35, 30, version="canary"))
    rows = folded(summary("1", *CHAIN), summary("2", *CHAIN), summary("3", *canary))
    assert [(row.path[-1], row.depth, row.load.count) for row in rows] == [
        ("ingress", 0, 3),
        ("svc1", 1, 3),
        ("svc2", 2, 3),
        ("svc3", 3, 2),
        ("svc3 canary", 3, 1),
    ]
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_a_cut_off_path_stands_last_and_apart() -> None:
    rows = folded(summary("a", *UPPER), summary("b", *LOWER))
    assert [(row.path, row.cut) for row in rows][-1] == (("svc2", "svc3"), True)
    assert not any(row.cut for row in rows[:-1])


def test_a_cut_off_piece_gets_nodes_of_its_own() -> None:
    graph = drawn(summary("a", *UPPER), summary("b", *LOWER))
    whole = ["ingress", "requester", "svc1", "svc2"]
    assert graph.nodes == (*(("", name) for name in whole), ("svc2", "svc2"), ("svc2", "svc3"))
    assert graph.pieces == {"svc2": 1}
    both = [summary("a", *UPPER), summary("b", *LOWER)]
    (cut,) = topology_view(chosen(*both), now_ns=0).cuts
    assert (cut.service, cut.count, cut.forwards) == ("svc2", 1, True)


def test_the_chain_stands_in_a_row_or_in_a_column() -> None:
    graph = drawn(WHOLE)
    across, upright = layout(graph, upright=False), layout(graph, upright=True)
    assert len({box.y for box in across.boxes}) == 1
    assert [box.name for box in sorted(across.boxes, key=lambda box: box.x)] == [
        "requester",
        "ingress",
        "svc1",
        "svc2",
        "svc3",
    ]
    assert len({box.x for box in upright.boxes}) == 1


def test_a_cut_off_piece_stands_below_the_place_where_it_was_torn_off() -> None:
    picture = layout(drawn(summary("a", *UPPER), summary("b", *LOWER)), upright=False)
    place = {box.key: box for box in picture.boxes}
    assert place["svc2", "svc2"].x == place["", "svc2"].x
    assert place["svc2", "svc2"].y > place["", "svc2"].y
    (cut,) = picture.cuts
    assert (cut.y1, cut.y2) == (place["", "svc2"].y + NODE_HEIGHT, place["svc2", "svc2"].y)


def assert_drawable(picture: Picture) -> None:
    for one, other in combinations(picture.boxes, 2):
        apart = abs(one.x - other.x) >= NODE_WIDTH or abs(one.y - other.y) >= NODE_HEIGHT
        assert apart, f"{one} and {other} overlap"
    assert all(0 <= box.x <= picture.width - NODE_WIDTH for box in picture.boxes)
    assert all(0 <= box.y <= picture.height - NODE_HEIGHT for box in picture.boxes)


@given(st.lists(GRAPHS, max_size=3))
def test_any_traces_make_a_picture_in_which_no_two_nodes_overlap(traces: list[list[Span]]) -> None:
    named = [[replace(one, trace_id=str(at)) for one in spans] for at, spans in enumerate(traces)]
    graph = drawn(*(summarize(assemble(spans)) for spans in named))
    for upright in (True, False):
        assert_drawable(layout(graph, upright=upright))


@given(GRAPHS)
def test_every_bar_lies_on_the_axis(spans: list[Span]) -> None:
    for bar in waterfall(assemble(spans)).bars:
        assert 0 <= bar.left <= SCALE
        assert 0 <= bar.width <= SCALE - bar.left + 0.001


def test_a_long_waterfall_is_cut_in_a_file_and_comes_in_stretches_on_a_page() -> None:
    fall = waterfall(assemble([span(f"{n:016x}", at=n) for n in range(MOST_ROWS + 5)]))
    assert (len(fall.bars), len(for_file(fall).bars), for_file(fall).hidden) == (MOST_ROWS + 5, MOST_ROWS, 5)
    shown = [for_page(fall, first) for first in (0, AT_ONCE - 1, MOST_ROWS + 4, MOST_ROWS + 5, 10**6)]
    assert [(one.first, len(one.bars), one.lean) for one in shown] == [
        (0, AT_ONCE, True),
        (0, AT_ONCE, True),
        (MOST_ROWS, 5, True),
        (0, AT_ONCE, True),
        (0, AT_ONCE, True),
    ]
    assert not for_page(waterfall(assemble(CHAIN))).lean


def test_the_list_is_filtered_counted_and_cut_into_pages() -> None:
    broken, failed = summary("b", *LOWER), summary("f", span("a", error=True, lasts=5 * 10**6))
    all_of_them = [WHOLE, broken, failed, summary("a", *UPPER)]
    statuses = stand(*all_of_them)
    expected = {
        Filter(): ["w", "b", "f", "a"],
        Filter(service="svc3"): ["w", "b"],
        Filter(state="broken"): ["b"],
        Filter(state="error"): ["f"],
        Filter(state="failed"): ["f"],
        Filter(state="unproven"): ["a"],
        Filter(min_ns=10**6): ["f"],
        Filter(id="w"): ["w"],
        Filter(service="svc3", state="whole"): ["w"],
        Filter(id="nothing"): [],
    }
    for wanted, ids in expected.items():
        view = list_view(chosen(*all_of_them), statuses, Wanted(wanted))
        assert [row.summary.trace_id for row in view.rows] == ids, wanted
        assert view.total == len(ids)
    second = list_view(chosen(*all_of_them), statuses, Wanted(page=2, per_page=3))
    assert ([row.summary.trace_id for row in second.rows], second.pages) == (["a"], 2)
    assert second.states == {State.WHOLE: 1, State.BROKEN: 1, State.FAILED: 1, State.UNPROVEN: 1}


def test_what_is_still_arriving_is_in_the_list_and_not_in_the_pictures() -> None:
    late = summary("t", *CHAIN[1:], changed=1000)
    statuses = stand(WHOLE, late, now=1001)
    both = [WHOLE, late]
    among = chosen(*both, now=1001)
    assert list_view(among, statuses, Wanted()).total == 2
    assert paths_view(among, "").total == 1
    assert (topology_view(among, 1001).cuts, topology_view(among, 1001).arriving) == ((), 1)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (9_126_000, "9.13 ms"),
        (12_345_678, "12.3 ms"),
        (123_456_789, "123 ms"),
        (999_600_000, "1.00 s"),
        (61_000_000_000, "61.0 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns: int, text: str) -> None:
    assert render.duration(ns) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.001, "< 1 %"), (0.126, "13 %"), (0.999, "99 %"), (1, "100 %")],
)
def test_percents_never_round_something_to_nothing_or_to_all(share: float, text: str) -> None:
    assert render.percent(share) == text


def test_times_are_told_whatever_a_senders_clock_says() -> None:
    assert render.moment(1_795_360_529_648_318_111) == "2026-11-22T15:15:29.648318Z"
    assert render.moment(0) == "1970-01-01T00:00:00.000000Z"
    assert render.moment(2**64 - 1).startswith("2554-")


def test_the_services_of_the_chain_have_a_colour_each() -> None:
    names = ["requester", "ingress", "svc1", "svc2", "svc3", "svc3 canary"]
    assert len({render.hue(name) for name in names}) == len(names)


def with_events(span_id: str, count: int) -> Span:
    return replace(span(span_id), events=tuple(Event(f"e{number}", number, ()) for number in range(count)))


def test_a_span_shows_its_first_events_and_a_page_a_bounded_number() -> None:
    (bar,) = waterfall(assemble([with_events("a", 10_000)])).bars
    assert [event.name for event in bar.events] == [f"e{number}" for number in range(MOST_EVENTS)]
    bars = waterfall(assemble([with_events(f"{n:016x}", 100) for n in range(200)])).bars
    assert sum(len(bar.events) for bar in bars) == 500


@pytest.mark.parametrize(
    ("page", "first", "number"), [(1, "e0", 1), (3, "e200", 3), (99, "e9800", 99), (200, "e9900", 100)]
)
def test_events_have_pages_of_their_own(page: int, first: str, number: int) -> None:
    view = events_view(assemble([with_events("a", 9_950)]), "a", page)
    assert view
    shown = 50 if number == 100 else 100
    assert (view.events[0].name, len(view.events), view.total, view.pages) == (first, shown, 9_950, 100)
