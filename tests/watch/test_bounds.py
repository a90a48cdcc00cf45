"""What is held takes about what it is taken to take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import psutil
import pytest

from bench.audit.live import batches
from bench.audit.shop import Scene, build
from grpc_tracing.audit.facts import Fact
from grpc_tracing.spans.formats.otlp import parse_protobuf
from grpc_tracing.watch.core import Bounds, Known
from grpc_tracing.watch.intake import facts_of
from grpc_tracing.watch.memory import hand_back
from grpc_tracing.watch.names import Names
from grpc_tracing.watch.open_traces import SPAN_BYTES
from grpc_tracing.watch.window import size_of


def grown(work: Callable[[], object]) -> int:
    """Bytes that are held after it and were not before."""
    tracemalloc.start()
    try:
        kept = work()
        size, _ = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return size


@pytest.mark.full
def test_open_spans_and_evidence_take_what_they_are_counted_for() -> None:
    shop = build(Scene("small", services=12, cutters=2, jobs=2, rate=60, seconds=20), 3)
    bodies = [batch.at(0, 0) for batch in batches(shop.facts) if batch.spans]
    spans, names, known = len(shop.facts), Names(), Known(Bounds(settle=0))

    def opened() -> list[Fact]:
        for body in bodies:
            known.take(facts_of(parse_protobuf(body), names), 0.0)
        return []

    held = grown(opened)
    assert known.settling.spans == spans > 10_000
    assert 0.6 * SPAN_BYTES * spans < held < 1.2 * SPAN_BYTES * spans, f"{held / spans:.0f} bytes a span"
    known.settle(1.0, 10**9)
    evidence = known.turn(0.0, 1.0)[-1].evidence
    assert size_of(evidence) > 18 * sum(len(one.starts) for into in evidence.calls_in.values() for one in into.values())


@pytest.mark.full
def test_what_was_let_go_is_handed_back() -> None:
    """Blocks below the last one stay with the process otherwise."""
    process = psutil.Process()
    blocks = [bytes(1_000) for _ in range(200_000)]
    last = blocks.pop()
    held = process.memory_info().rss
    del blocks
    hand_back()
    assert held - process.memory_info().rss > 100 * 1024**2
    assert last
