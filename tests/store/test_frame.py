"""The columns against the traces themselves: what numpy counts is what a loop over all edges counts."""

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from grpc_tracing.spans.model import Span
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store.chosen import Chosen, groups
from grpc_tracing.store.frame import Frame
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.trace_status import Known, TraceStatus, trace_statuses
from tests.spans.test_tree import GRAPHS
from tests.store.test_trace_status import LATER, LOWER, UPPER, WHOLE, stand, summary


def made_of(traces: list[list[Span]]) -> list[Summary]:
    return [summarize(assemble([replace(one, trace_id=f"{at}") for one in spans])) for at, spans in enumerate(traces)]


def counted(summaries: list[Summary], statuses: dict[str, TraceStatus]) -> dict[tuple[object, ...], list[int]]:
    found: dict[tuple[object, ...], list[int]] = {}
    for one in summaries:
        for edge in one.edges:
            key = (edge.path, statuses[one.trace_id].cut[edge.piece])
            found.setdefault(key, []).append(edge.duration_ns)
    return {key: sorted(times) for key, times in found.items()}


def by_path(chosen: Chosen) -> dict[tuple[object, ...], list[int]]:
    found = groups(chosen, chosen.places)
    return {tuple(chosen.path(place)): group.durations.tolist() for place, group in found.items()}


@given(st.lists(GRAPHS, max_size=4), st.lists(st.integers(0, 3), max_size=4))
def test_the_columns_hold_what_the_traces_say_whatever_came_and_went(traces: list[list[Span]], gone: list[int]) -> None:
    summaries = made_of(traces)
    statuses = trace_statuses(summaries, Known(LATER))
    frame = Frame()
    for one in [*summaries, *summaries[::2]]:
        frame.put(one, statuses[one.trace_id])
    for trace_id in map(str, gone):
        frame.drop(trace_id)
    left = [one for one in summaries if int(one.trace_id) not in gone]
    table = frame.table()
    among = Chosen(table, table.traces["alive"])
    assert len(among) == len(left)
    assert among.states == Counter(statuses[one.trace_id].state for one in left)
    assert by_path(among) == counted(left, statuses)


def test_a_frame_that_many_traces_went_through_stays_small_and_right() -> None:
    frame, kept = Frame(), []
    for number in range(3000):
        one = summary(f"{number}", *(UPPER, LOWER)[number % 2])
        frame.put(one, stand(one)[one.trace_id])
        kept.append(one)
        if len(kept) > 100:
            frame.drop(kept.pop(0).trace_id)
    table = frame.table()
    assert len(table.summaries) < 600
    among = Chosen(table, table.traces["alive"])
    assert {table.summaries[int(row)].trace_id for row in np.flatnonzero(among.rows)} == {one.trace_id for one in kept}
    assert by_path(among) == counted(kept, {one.trace_id: stand(one)[one.trace_id] for one in kept})


def test_a_table_stays_as_it_was_when_the_frame_goes_on() -> None:
    frame = Frame()
    frame.put(WHOLE, stand(WHOLE)["w"])
    before = frame.table()
    frame.drop("w")
    other = summary("x", *LOWER)
    frame.put(other, stand(other)["x"])
    assert len(Chosen(before, before.traces["alive"])) == 1
    assert before.summaries == [WHOLE]
