"""Statuses that are kept current are those that all traces judged at once would get."""

import time

import pytest

from grpc_tracing.spans.formats.otlp import split
from grpc_tracing.store import standing
from grpc_tracing.store.calls import CallLog, parse_call
from grpc_tracing.store.standing import Seen, Standing
from grpc_tracing.store.store import Limits, TraceStore
from grpc_tracing.store.trace_status import Known, trace_statuses
from tests.store.calls import cut_at, new_id, talk_parts
from tests.store.support import Part, export_request


def put(store: TraceStore, parts: list[Part], trace_id: str = "") -> str:
    trace_id = trace_id or new_id(16)
    store.add(split(export_request(trace_id, parts))[0])
    return trace_id


def put_all(store: TraceStore, count: int) -> None:
    for number in range(count):
        upper, lower = cut_at(talk_parts("Talk", f"r{number}"), "svc2")
        for parts in (upper, lower) if number % 5 == 0 else (talk_parts("Talk"),):
            put(store, parts)


def same(seen: Seen, store: TraceStore, calls: CallLog) -> None:
    expected = trace_statuses(tuple(store.summaries()), Known(seen.now_ns, tuple(calls), lost_ns=store.lost_ns))
    assert dict(seen.statuses) == expected


@pytest.mark.parametrize("few", [1000, 0], ids=["few", "many"])
async def test_what_is_kept_current_is_what_all_at_once_say(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(standing, "FEW", few)
    monkeypatch.setattr(standing, "_PAUSE", 0)
    monkeypatch.setattr(standing, "_REST", 0)
    # No trace of the test is still arriving: whether one is depends on the moment.
    monkeypatch.setattr("grpc_tracing.store.trace_status.ARRIVING_NS", 0)
    store, calls = TraceStore(Limits(traces=40)), CallLog(100, 2**20)
    kept = Standing(store, calls)
    put_all(store, 20)
    same(await kept.current(), store, calls)
    late = talk_parts("Talk")
    trace_id = put(store, late[:3])
    await kept.current()
    put(store, late[3:], trace_id)
    calls.add((parse_call({"verdict": "broken", "trace_ids": [trace_id], "problems": ["told"]}),), 100)
    put_all(store, 30)
    await kept.current()
    await kept.settled()
    seen = await kept.current()
    same(seen, store, calls)
    assert len(seen.within((0, time.time_ns()))) == len(store) == 40
