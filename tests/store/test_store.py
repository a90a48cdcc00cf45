"""The store's bounds, in the small."""

import gc
import multiprocessing
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from grpc_tracing.spans.formats import otlp
from grpc_tracing.store.store import Limits, TraceStore
from tests.store.calls import new_id, talk_parts
from tests.store.support import export_request


def chunks(trace_id: str) -> list[otlp.Chunk]:
    return otlp.split(export_request(trace_id, talk_parts()))[0]


def test_the_bytes_it_counts_are_no_less_than_what_it_takes() -> None:
    """With the summaries that the pages read, and the ids of as many dropped traces as it holds."""
    # In a process of its own: Python's table of interned strings grows by the megabyte wherever it happens to.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        held, counted = fresh.submit(_held_and_counted).result(240)
    assert held <= counted <= held * 2


def _held_and_counted() -> tuple[int, int]:
    taken = [chunks(new_id(16)) for _ in range(1000)]
    store = TraceStore(Limits(traces=500))
    gc.collect()
    tracemalloc.start()
    try:
        while taken:
            store.add(taken.pop())
        assert len(list(store.summaries())) == 500
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # The chunks were made before, so what the store holds of them is not traced.
    held += sum(len(chunk) for summary in store.summaries() for chunk in store.chunks(summary.trace_id))
    return held, store.size


def test_a_late_span_of_a_dropped_trace_does_not_come_back_as_a_broken_one() -> None:
    store = TraceStore(Limits(traces=2))
    old, *newer = [new_id(16) for _ in range(3)]
    late = chunks(old)
    store.add(late[:6])
    for trace_id in newer:
        store.add(chunks(trace_id))
    store.add(late[6:])
    assert [summary.trace_id for summary in store.summaries()] == newer[::-1]
    assert (store.counts.dropped_traces, store.counts.dropped_spans) == (1, 7)


def test_of_the_dropped_traces_no_more_ids_are_kept_than_there_are_traces() -> None:
    store = TraceStore(Limits(traces=2))
    first, *_, last = dropped = [new_id(16) for _ in range(5)]
    for trace_id in (*dropped, new_id(16), new_id(16)):
        store.add(chunks(trace_id))
    store.add(chunks(last))
    assert last not in [summary.trace_id for summary in store.summaries()], "still known as dropped"
    store.add(chunks(first))
    assert first in [summary.trace_id for summary in store.summaries()], "its id is forgotten: it counts as new"


def test_a_summary_follows_the_spans_that_come_later() -> None:
    store = TraceStore(Limits())
    parts = chunks(new_id(16))
    for number, part in enumerate(parts, start=1):
        store.add([part])
        assert next(store.summaries()).spans == number
    assert not store.settle(10)


def test_settling_takes_no_more_than_it_is_asked_to() -> None:
    store = TraceStore(Limits())
    for _ in range(5):
        store.add(chunks(new_id(16)))
    assert [store.settle(2), store.settle(2), store.settle(2)] == [True, True, False]


def test_a_trace_that_was_cut_says_so_whatever_comes_after() -> None:
    store = TraceStore(Limits(spans_per_trace=10))
    first, second = chunks(new_id(16)), chunks(new_id(16))
    trace_id = first[0].trace_id
    long = replace(first[0], spans=10)
    store.add([first[0], long, *[replace(one, trace_id=trace_id) for one in second[:1]]])
    assert next(store.summaries()).cut
