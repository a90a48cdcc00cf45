"""Jaeger's v3 query API, as the requester and any other client of a Jaeger 2 asks it."""

from collections.abc import Iterator

import pytest

from grpc_tracing.store.query import parse_duration
from tests.store.searched import LATER, SLOW, TALK, store_with_three_traces
from tests.store.support import Store


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with store_with_three_traces() as running:
        yield running


def search(store: Store, **query: str) -> set[str]:
    params = {f"query.{key}": value for key, value in query.items()}
    answer = store.get("/api/v3/traces", **params)
    if answer.status_code == 404:
        assert answer.json() == {"error": {"httpCode": 404, "message": "No traces found"}}
        return set()
    assert answer.status_code == 200, answer.text
    groups = answer.json()["result"]["resourceSpans"]
    return {span["traceId"] for group in groups for scope in group["scopeSpans"] for span in scope["spans"]}


ALL = {"startTimeMin": "2026-11-01T00:00:00Z", "startTimeMax": "2026-11-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {TALK, SLOW, LATER}),
        ({"startTimeMax": "2026-11-01T13:00:30+01:00"}, {TALK}),
        ({"startTimeMin": "2026-11-01T12:59:59.999999999Z"}, {LATER}),
        ({"startTimeMin": "2027-01-01T00:00:00Z", "startTimeMax": "2027-01-02T00:00:00Z"}, set()),
        ({"serviceName": "svc2"}, {TALK, SLOW}),
        ({"serviceName": "svc"}, set()),
        ({"serviceName": "other.name.space", "operationName": "job"}, {LATER}),
        ({"serviceName": "svc2", "operationName": "job"}, set()),
        ({"durationMin": "1s"}, {SLOW}),
        ({"durationMax": "1.5ms"}, {LATER}),
        ({"serviceName": "svc3", "durationMin": "1m"}, set()),
        ({"attributes": '{"grpc.status_code":"14"}'}, {SLOW}),
        ({"attributes": '{"service.name":"other.name.space"}'}, {LATER}),
        ({"searchDepth": "1"}, {LATER}),
        ({"numTraces": "2"}, {LATER, SLOW}),
        ({"searchDepth": "0"}, set()),
    ],
)
def test_a_search_finds_what_fits(store: Store, query: dict[str, str], found: set[str]) -> None:
    assert search(store, **ALL | query) == found


def test_snake_case_is_accepted_too(store: Store) -> None:
    day = {"start_time_min": ALL["startTimeMin"], "start_time_max": ALL["startTimeMax"]}
    assert search(store, **day, service_name="svc2", duration_min="1s", search_depth="10") == {SLOW}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"startTimeMin": ""}, "query.startTimeMin and query.startTimeMax are required"),
        ({"startTimeMin": "yesterday"}, "malformed parameter query.startTimeMin"),
        ({"startTimeMax": "2026-11-01T00:00:00"}, "malformed parameter query.startTimeMax"),
        ({"durationMin": "1 s"}, "malformed parameter query.durationMin"),
        ({"durationMin": "9" * 400 + "s"}, "malformed parameter query.durationMin"),
        ({"durationMax": "-1s"}, "malformed parameter query.durationMax"),
        ({"searchDepth": "-1"}, "malformed parameter query.searchDepth"),
        ({"searchDepth": "ten"}, "malformed parameter query.searchDepth"),
        ({"attributes": "a=b"}, "malformed parameter query.attributes"),
        ({"attributes": '{"a":1}'}, "malformed parameter query.attributes"),
        ({"attributes": "[" * 1000}, "malformed parameter query.attributes"),
    ],
)
def test_a_malformed_parameter_is_named(store: Store, query: dict[str, str], said: str) -> None:
    params = {f"query.{key}": value for key, value in (ALL | query).items()}
    answer = store.get("/api/v3/traces", **params)
    assert (answer.status_code, answer.json()["error"]["httpCode"]) == (400, 400)
    assert said in answer.json()["error"]["message"]


def test_a_trace_by_its_id_and_none_by_an_unknown_or_malformed_one(store: Store) -> None:
    assert len(store.spans(TALK)) == len(store.spans(TALK.upper())) == 7
    unknown = store.get(f"/api/v3/traces/{'1' * 32}")
    assert (unknown.status_code, unknown.json()["error"]["httpCode"]) == (404, 404)
    for malformed in ("1", "x" * 32, "1" * 33, "%00"):
        answer = store.get(f"/api/v3/traces/{malformed}")
        assert (answer.status_code, answer.json()["error"]["httpCode"]) == (400, 400)


def test_services_and_operations(store: Store) -> None:
    services = ["ingress", "other.name.space", "requester", "svc1", "svc2", "svc3"]
    assert store.get("/api/v3/services").json() == {"services": services}
    client, server = {"name": "egress", "spanKind": "client"}, {"name": "ingress", "spanKind": "server"}
    assert store.get("/api/v3/operations", service="svc2").json() == {"operations": [client, server]}
    for name in ("spanKind", "span_kind"):
        assert store.get("/api/v3/operations", service="svc2", **{name: "server"}).json() == {"operations": [server]}
    assert store.get("/api/v3/operations", service="nobody").json() == {"operations": []}
    assert store.get("/api/v3/operations").status_code == 400


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1ns", 1), ("1.5us", 1500), ("2µs", 2000), ("100ms", 10**8), ("1m30s", 90 * 10**9), ("1h", 3600 * 10**9)],
)
def test_durations_are_spelled_as_in_go(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "-1s", "1d", "1..5s", "0x1s", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
