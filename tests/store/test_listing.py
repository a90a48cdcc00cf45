"""What a list of traces is narrowed to, grouped by and drawn as."""

import numpy as np
import pytest
from starlette.datastructures import QueryParams

from grpc_tracing.spans.formats.otlp import split
from grpc_tracing.store.asking import Form, Range, parse_moment
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.folded import paths
from grpc_tracing.store.grouped import TraceGroup
from grpc_tracing.store.listing import ListView, list_view
from grpc_tracing.store.render import exact
from grpc_tracing.store.scatter import ACROSS, CELL, DOWN, scatter
from grpc_tracing.store.store import Limits, TraceStore
from grpc_tracing.store.trace_status import Known, trace_statuses
from tests.store.calls import new_id, talk_parts
from tests.store.support import export_request

NOW = 1_795_360_529_648_318_111
SECOND = 10**9


@pytest.fixture(scope="module")
def store() -> TraceStore:
    """Talk twice, 1 and 2 times as slow, 10 and 5 s ago, and a failed TalkBidirectional of ten times as slow."""
    made = TraceStore(Limits())
    for ago, parts in (
        (10, talk_parts("Talk", "r1")),
        (5, talk_parts("Talk", "r2", slower=2)),
        (1, talk_parts("TalkBidirectional", "r3", slower=10, fails_at="svc3")),
    ):
        made.add(split(export_request(new_id(16), parts, NOW - ago * SECOND))[0])
    return made


@pytest.fixture(scope="module")
def among(store: TraceStore) -> Chosen:
    summaries = tuple(store.summaries())
    return Chosen.of(summaries, trace_statuses(summaries, Known(2**62)))


def ask(store: TraceStore, among: Chosen, query: str) -> ListView:
    params = QueryParams(query)
    summaries = tuple(store.summaries())
    within = among.only(among.table.since(*Range.of(params).bounds(NOW)))
    return list_view(within, trace_statuses(summaries, Known(2**62)), Form.of(params).wanted, store.chunks)


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("range=all", "r3 r2 r1"),
        ("sort=shortest", "r1 r2 r3"),
        ("sort=longest", "r3 r2 r1"),
        ("min=10ms&max=50ms", "r2"),
        ("call=Talk", "r2 r1"),
        ("operation=egress&state=failed", "r3"),
        ("operation=nothing", ""),
        ("attribute=grpc.status_code%3D14", "r3"),
        ("attribute=service.name%3Dsvc2&call=Talk", "r2 r1"),
        ("attribute=service.name%3Dsvc", ""),
        ("from=7s", "r3 r2"),
        ("from=7s&to=3s", "r2"),
        ("to=2026-11-22T15:15:22Z", "r1"),
        ("edge=svc2+%E2%80%BA+svc3&least=6ms&most=7ms", "r2"),
        ("edge=svc2+%E2%80%BA+svc3&least=3.3ms", "r3 r2 r1"),
        ("edge=svc2+%E2%80%BA+svc3&most=3.3ms", ""),
    ],
)
def test_the_list_is_narrowed_and_sorted(store: TraceStore, among: Chosen, query: str, requests: str) -> None:
    view = ask(store, among, query)
    assert [row.summary.request_ids[0] for row in view.rows] == requests.split()
    assert view.total == len(view.rows)


@pytest.mark.parametrize(
    ("query", "field"), [("max=x", "max"), ("attribute=x", "attribute"), ("attribute=%3Dx", "attribute")]
)
def test_a_mistake_is_named_beside_its_field_and_narrows_nothing(
    store: TraceStore, among: Chosen, query: str, field: str
) -> None:
    form = Form.of(QueryParams(query))
    assert list_view(among, trace_statuses(store.summaries(), Known(2**62)), form.wanted).total == 3
    assert form.errors[field].endswith("this part of the filter is left out")


def test_a_time_is_absolute_or_a_while_ago_and_a_mistake_is_named() -> None:
    assert parse_moment("1970-01-01T00:00:10Z", 0) == 10 * SECOND
    assert parse_moment("1970-01-01T00:00:10", 0) == 10 * SECOND, "UTC where no zone is named"
    assert parse_moment("1970-01-01T01:00:10+01:00", 0) == 10 * SECOND
    for text in ("15m", "-15m", "15m ago"):
        assert parse_moment(text, NOW) == NOW - 900 * SECOND
    assert "neither a time" in Range("1h", begin="soon").errors()["from"]


def test_traces_are_grouped(store: TraceStore, among: Chosen) -> None:
    assert ask(store, among, "group=route").groups == (
        TraceGroup("Talk", 2, 2 / 3, 0, 0, 9_100_000, 18_200_000),
        TraceGroup("TalkBidirectional", 1, 1 / 3, 1, 0, 91_000_000, 91_000_000),
    )
    assert [one.name for one in ask(store, among, "group=root").groups] == ["requester"]
    assert sum(one.count for one in ask(store, among, "group=state").groups) == 3


def test_each_trace_lies_in_the_field_at_its_time_and_duration(among: Chosen) -> None:
    field = scatter(among)
    assert field
    first, last = field.dots[0], field.dots[-1]
    assert (first.x, first.y) == (0, (DOWN - 1) * CELL)
    assert (last.x, last.y, last.state.value) == ((ACROSS - 1) * CELL, 0, "failed")
    assert all(dot.trace_id for dot in field.dots)
    assert scatter(among.only(np.arange(len(among.rows)) == 0)) is None


def test_the_buckets_of_a_path_hold_all_its_calls_and_lead_to_them(store: TraceStore, among: Chosen) -> None:
    for row in paths(among):
        assert sum(bucket.count for bucket in row.buckets) == row.load.count
        for bucket in row.buckets:
            query = f"path={row.text}&least={exact(bucket.low_ns)}&most={exact(bucket.high_ns)}"
            assert ask(store, among, query).total == bucket.count, (row.text, bucket)
