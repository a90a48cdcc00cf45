"""Jaeger's first query API, as Jaeger's pages and Grafana's Jaeger data source ask it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from grpc_tracing.spans.formats import jaeger
from tests.store.searched import LATER, SLOW, TALK, store_with_three_traces
from tests.store.support import Store

DAY = {"start": "1793491200000000", "end": "1793577600000000"}
"""2026-11-01, in microseconds."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with store_with_three_traces() as running:
        yield running


def data(store: Store, path: str, **params: str) -> Any:
    answer = store.get(path, **params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["errors"] is None
    return answer.json()["data"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"service": "svc2"}, {TALK, SLOW}),
        ({"service": "svc"}, set()),
        ({"service": "svc2", "limit": "1"}, {SLOW}),
        ({"service": "svc2", "end": "1793534430000000"}, {TALK}),
        ({"service": "svc2", "minDuration": "1s"}, {SLOW}),
        ({"service": "svc2", "maxDuration": "900ms"}, {TALK}),
        ({"service": "other.name.space", "operation": "job"}, {LATER}),
        ({"service": "svc2", "operation": "job"}, set()),
        ({"service": "svc2", "tags": '{"grpc.status_code":"14"}'}, {SLOW}),
        ({"service": "svc2", "tag": "grpc.status_code:14"}, {SLOW}),
        ({"traceID": TALK}, {TALK}),
    ],
)
def test_a_search_finds_what_jaegers_does(store: Store, query: dict[str, str], found: set[str]) -> None:
    assert {one["traceID"] for one in data(store, "/api/traces", **DAY | query)} == found


def test_without_a_time_the_last_two_days_are_searched(store: Store) -> None:
    assert data(store, "/api/traces", service="svc2") == []


def test_a_trace_says_what_the_v3_api_says_of_it(store: Store) -> None:
    answer = store.get(f"/api/traces/{SLOW}").json()
    ours = {(one.span_id, one.parent_id, one.service, one.name, one.kind, one.error) for one in jaeger.spans_of(answer)}
    groups = store.get(f"/api/v3/traces/{SLOW}").json()["result"]["resourceSpans"]
    spans = [span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]]
    assert {one[0] for one in ours} == {span["spanId"] for span in spans}
    assert {one[1] for one in ours} == {span.get("parentSpanId", "") for span in spans}
    assert {one[2] for one in ours} >= {"svc1", "svc2", "svc3"}
    assert any(one[5] for one in ours)


def test_leading_zeros_of_an_id_may_be_left_out(store: Store) -> None:
    (trace,) = data(store, f"/api/traces/{LATER.lstrip('0')}")
    assert trace["traceID"] == LATER


def test_services_and_their_operations(store: Store) -> None:
    assert {"svc1", "svc2", "svc3", "other.name.space"} <= set(data(store, "/api/services"))
    assert data(store, "/api/services/other.name.space/operations") == ["job"]
    assert [one["name"] for one in data(store, "/api/operations", service="other.name.space")] == ["job"]
    assert data(store, "/api/operations", service="other.name.space", spanKind="producer") == []


def test_who_called_whom(store: Store) -> None:
    asked = {"endTs": "1793577600000", "lookback": "86400000"}
    found = {(one["parent"], one["child"]): one["callCount"] for one in data(store, "/api/dependencies", **asked)}
    assert found["svc1", "svc2"] == 2
    assert data(store, "/api/dependencies", endTs="1793491200000", lookback="1000") == []


@pytest.mark.parametrize(
    ("path", "asked", "code", "said"),
    [
        ("/api/traces", {}, 400, "parameter 'service' is required"),
        ("/api/traces", {"service": "a", "start": "x"}, 400, "unable to parse param 'start'"),
        ("/api/traces", {"service": "a", "limit": "x"}, 400, "unable to parse param 'limit'"),
        ("/api/traces", {"service": "a", "minDuration": "1"}, 400, "unable to parse param 'minDuration'"),
        ("/api/traces", {"service": "a", "tag": "x"}, 400, "malformed 'tag' parameter"),
        ("/api/traces", {"service": "a", "tags": "[]"}, 400, "malformed 'tags' parameter"),
        ("/api/traces/xyz", {}, 400, "cannot parse traceID"),
        ("/api/traces/72ba4a2af6ad462d2e9a277053550d92", {}, 404, "trace not found"),
        ("/api/operations", {}, 400, "parameter 'service' is required"),
        ("/api/dependencies", {"endTs": "x"}, 400, "unable to parse params"),
    ],
)
def test_what_cannot_be_answered_says_why(store: Store, path: str, asked: dict[str, str], code: int, said: str) -> None:
    answer = store.get(path, **asked)
    assert answer.status_code == code
    (error,) = answer.json()["errors"]
    assert error["code"] == code
    assert said in error["msg"]
