"""What the page of one trace says of its spans: where the time went, and which ones a search finds."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from grpc_tracing.spans.model import Event, Kind, Span
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store.finding import found
from grpc_tracing.store.overview import members, overview
from grpc_tracing.store.times import Stretch, times
from grpc_tracing.store.waterfall import waterfall
from tests.spans.test_tree import CHAIN, GRAPHS, span

# A caller of three: two side by side, then one that goes on after the caller has ended.
FORK = (
    span("a", "", "front", at=0, lasts=100),
    span("b", "a", "left", at=10, lasts=30),
    span("c", "a", "right", at=20, lasts=40),
    span("d", "a", "late", at=70, lasts=50),
    span("e", "c", "below", at=30, lasts=20),
)


def went(*spans: Span) -> tuple[dict[str, int], dict[str, tuple[Stretch, ...]]]:
    """Own times and critical path by span id."""
    rows = assemble(spans).rows
    told = times(rows, [(row.span.start_ns, row.span.end_ns) for row in rows])
    ids = [row.span.span_id for row in rows]
    return dict(zip(ids, told.own, strict=True)), dict(zip(ids, told.critical, strict=True))


def test_own_time_is_that_in_which_no_child_ran_and_what_ran_side_by_side_counts_once() -> None:
    assert went(*FORK)[0] == {"a": 20, "b": 30, "c": 20, "d": 50, "e": 20}
    assert went(*CHAIN)[0] == {"a": 20, "b": 10, "c": 10, "d": 10, "e": 10, "f": 10, "g": 30}


def test_the_critical_path_leads_back_from_the_end_through_what_was_waited_for() -> None:
    assert went(*FORK)[1] == {
        "a": ((0, 20), (60, 70)),
        "b": (),
        "c": ((20, 30), (50, 60)),
        "d": ((70, 100),),
        "e": ((30, 50),),
    }


@given(GRAPHS)
def test_the_critical_path_is_as_long_as_each_piece_and_overlaps_nowhere(spans: list[Span]) -> None:
    trace = assemble(spans)
    told = times(trace.rows, [(row.span.start_ns, row.span.start_ns + row.span.duration_ns) for row in trace.rows])
    assert sum(end - begin for found in told.critical for begin, end in found) == sum(
        top.duration_ns for top in trace.tops
    )
    for row, own, critical in zip(trace.rows, told.own, told.critical, strict=True):
        assert 0 <= own <= row.span.duration_ns
        assert all(one[1] <= other[0] for one, other in pairwise(critical))


def test_a_row_tells_its_share_what_hangs_below_it_and_where_its_events_are() -> None:
    last = replace(CHAIN[6], events=(Event("lost", 40, ()), Event("found", 65, ())))
    bars = waterfall(assemble([*CHAIN[:6], last])).bars
    assert [bar.below for bar in bars] == [6, 5, 4, 3, 2, 1, 0]
    assert [bar.share for bar in bars] == pytest.approx([1, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert bars[6].marks == (400, 650)


def test_services_are_listed_by_the_time_of_their_own() -> None:
    told = members(waterfall(assemble(FORK)).bars)
    assert [(one.node, one.spans, one.own_ns) for one in told][:2] == [("late", 1, 50), ("left", 1, 30)]
    assert sum(one.share for one in told) == pytest.approx(1)


def test_the_picture_of_ten_thousand_rows_is_small() -> None:
    made = [span(f"{n:016x}", f"{n // 3:016x}" if n else "", f"svc{n % 7}", at=n, lasts=10_000) for n in range(3000)]
    drawn = overview(waterfall(assemble(made)).bars)
    assert drawn.lines == 100
    assert sum(len(path) for _, path in drawn.paths) < 30_000


SAID = (
    replace(CHAIN[0], name="shop.Cart/Add", attributes=(("http.status_code", "503"), ("note", "<b>\u202e"))),
    replace(CHAIN[1], message="deadline passed", error=True),
    replace(CHAIN[2], events=(Event("retry", 3, (("attempt", "2"),)),), kind=Kind.SERVER),
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cart", [0]),
        ("HTTP.status_code=503", [0]),
        ("status_code=50", [0]),
        ("deadline error", [1]),
        ("attempt=2", [2]),
        ("svc1", [2]),
        ("ingress nothing", []),
        ("<b>", [0]),
        ("  ", []),
    ],
)
def test_a_search_finds_the_spans_that_have_all_its_words(text: str, rows: list[int]) -> None:
    trace = assemble(SAID)
    assert list(found(trace, waterfall(trace).bars, text)) == rows
