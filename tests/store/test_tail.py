"""What the store keeps back before it shows it."""

import time

from grpc_tracing.spans.formats.otlp import Chunk
from grpc_tracing.store.store import Limits, TraceStore
from grpc_tracing.store.tail import Tail


def chunk(trace_id: str, size: int = 0) -> Chunk:
    return Chunk(trace_id, 1, bytes(size))


def test_a_trace_is_shown_whole_after_its_time() -> None:
    store = TraceStore(Limits())
    tail = Tail(store, wait=3600)
    tail.add([chunk("a")])
    tail.add([chunk("b"), chunk("a")])
    tail.release(time.monotonic() + 3599)
    assert len(store) == 0
    tail.release(time.monotonic() + 3601)
    assert (len(store.chunks("a")), len(store.chunks("b"))) == (2, 1)


def test_without_a_time_it_is_shown_at_once() -> None:
    store = TraceStore(Limits())
    Tail(store, wait=0).add([chunk("a")])
    assert len(store) == 1


def test_no_more_is_held_than_the_store_may_hold() -> None:
    store = TraceStore(Limits(size=16_000))
    tail = Tail(store, wait=3600)
    tail.add([chunk("a", 10_000)])
    assert len(store) == 0
    tail.add([chunk("b", 10_000)])
    assert store.chunks("a") != ()
    assert store.chunks("b") == ()
