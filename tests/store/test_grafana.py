"""What Grafana's two data sources ask of the store, and that they can read the answers.

The requests are those that the source of grafana/grafana-jaeger-datasource (pkg/jaeger/client.go) and of
grafana/grafana-tempo-datasource (pkg/tempo/{tempo,trace,search,search_tags_api}.go, src/SearchTraceQLEditor/utils.ts)
writes, as of 2026; no Grafana runs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends.sending import export
from tests.backends.test_same_table import audit
from tests.store.searched import LATER, NOON, SLOW, TALK, store_with_three_traces
from tests.store.support import Store, running_store

START, END = int(NOON.timestamp()) - 3600, int(NOON.timestamp()) + 3600 * 2
TIMES = f"start={START}&end={END}"
MICRO = f"start={START}000000&end={END}000000"
MILLI = f"endTs={END}000&lookback={(END - START) * 1000}"

# A field that Grafana's Tempo data source does not know makes it refuse the answer (jsonpb).
SEARCHED = {
    "traceID",
    "rootServiceName",
    "rootTraceName",
    "startTimeUnixNano",
    "durationMs",
    "spanSet",
    "spanSets",
    "serviceStats",
}
SPAN = {"spanID", "name", "startTimeUnixNano", "durationNanos", "attributes"}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with store_with_three_traces() as running:
        yield running


def ask(store: Store, path: str, accept: str = "", **params: str) -> httpx.Response:
    headers = {"accept": accept} if accept else {}
    return store.client.get(f"http://{store.http}{path}", params=params or None, headers=headers)


JAEGER = (
    ("/api/services", ["other.name.space", "svc1"]),  # the test of the data source, and the first list
    ("/api/services/svc2/operations", ["egress", "ingress"]),
    (f"/api/traces?limit=20&operation=ingress&service=svc2&{MICRO}", [TALK, SLOW]),
    (f"/api/traces?limit=20&maxDuration=900ms&minDuration=1ms&service=svc2&{MICRO}", [TALK]),
    (f"/api/traces?limit=20&service=svc2&{MICRO}&tags=%7B%22grpc.status_code%22%3A%2214%22%7D", [SLOW]),
    (f"/api/traces/{TALK}", [TALK]),
    (f"/api/traces/{TALK}?{MICRO}", [TALK]),  # with "use time range in query"
    (f"/api/dependencies?{MILLI}", [{"parent": "svc1", "child": "svc2", "callCount": 2}]),
)


@pytest.mark.parametrize(
    ("request_of_grafana", "holds"), JAEGER, ids=[path.partition("&start")[0] for path, _ in JAEGER]
)
def test_the_jaeger_data_source_finds_what_it_asks_for(store: Store, request_of_grafana: str, holds: list[Any]) -> None:
    answer = ask(store, request_of_grafana.replace("{id}", TALK))
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    found = [one["traceID"] for one in data] if "/traces" in request_of_grafana else data
    assert all(one in found for one in holds), found
    assert len(found) == len(holds) or "/traces" not in request_of_grafana


def test_the_jaeger_data_source_draws_a_trace(store: Store) -> None:
    """What TransformTraceResponse reads of a span."""
    (trace,) = ask(store, f"/api/traces/{SLOW}").json()["data"]
    for span in trace["spans"]:
        assert trace["processes"][span["processID"]]["serviceName"]
        assert isinstance(span["startTime"], int)
        assert isinstance(span["duration"], int)
        assert all({"key", "value"} <= tag.keys() for tag in span["tags"])
        assert all(reference["refType"] == "CHILD_OF" for reference in span["references"])
    assert ask(store, "/api/traces/72ba4a2af6ad462d2e9a277053550d92").status_code == 404


def test_the_tempo_data_source_is_tested_by_an_echo(store: Store) -> None:
    answer = ask(store, "/api/echo")
    assert (answer.status_code, answer.text) == (200, "echo")
    assert ask(store, "/api/status/buildinfo").json()["version"] < "2.2.0", "from there on it asks by gRPC"


SEARCHES: tuple[tuple[str, set[str]], ...] = (
    ("{}", {TALK, SLOW, LATER}),
    ("", {TALK, SLOW, LATER}),
    ('{resource.service.name="svc2"}', {TALK, SLOW}),
    ('{resource.service.name="svc2" && name="ingress"}', {TALK, SLOW}),
    ('{resource.service.name="svc2" && status=error}', {SLOW}),
    ("{status=error && kind=server}", {SLOW}),
    ("{status=ok && kind=internal}", {LATER}),
    ("{duration>1s}", {SLOW}),
    ("{duration>100ms && duration<5s}", {SLOW}),
    ("{traceDuration<1m}", {TALK, SLOW, LATER}),
    ('{.grpc.status_code="14"}', {SLOW}),
    ("{span.grpc.status_code=14}", {SLOW}),
    ("{span.grpc.status_code>=14}", {SLOW}),
    ('{resource.service.name=~"svc3|other.*"}', {TALK, SLOW, LATER}),
    ('{resource.service.name!~"svc.*|requester|ingress"}', {LATER}),
    (
        '{(resource.service.name="svc3" || resource.service.name="other.name.space") && duration<1h}',
        {TALK, SLOW, LATER},
    ),
    ('{rootServiceName="requester" && name!="Talk"}', {TALK, SLOW}),
    ('{span."guid:x-request-id"!=nil}', {TALK, SLOW}),
    ("{span.nothing!=nil}", set()),
    ('{name="it said \\"no\\""}', set()),
    ("{name=`Talk`}", {TALK, SLOW}),
    ("{true}", {TALK, SLOW, LATER}),
)


@pytest.mark.parametrize(("query", "found"), SEARCHES, ids=[query for query, _ in SEARCHES])
def test_the_tempo_data_source_searches(store: Store, query: str, found: set[str]) -> None:
    asked = {"q": query, "limit": "20", "spss": "3", "start": str(START), "end": str(END)}
    answer = ask(store, "/api/search", "application/json", **{key: value for key, value in asked.items() if value})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document.keys() <= {"traces", "metrics"}
    assert {one["traceID"] for one in document["traces"]} == found
    for one in document["traces"]:
        assert one.keys() <= SEARCHED
        assert one["startTimeUnixNano"].isdecimal()
        assert isinstance(one["durationMs"], int)
        assert 1 <= len(one["spanSet"]["spans"]) <= min(3, one["spanSet"]["matched"])
        assert all(span.keys() <= SPAN for span in one["spanSet"]["spans"])


def test_a_search_keeps_to_its_time_and_its_limit(store: Store) -> None:
    first = {"start": str(START), "end": str(int(NOON.timestamp()) + 30)}
    assert [one["traceID"] for one in ask(store, "/api/search", q="{}", **first).json()["traces"]] == [TALK]
    assert len(ask(store, "/api/search", q="{}", limit="1").json()["traces"]) == 1


def test_the_tempo_data_source_lists_tags_and_values(store: Store) -> None:
    scopes = {one["name"]: one["tags"] for one in ask(store, "/api/v2/search/tags?limit=5000").json()["scopes"]}
    assert "service.name" in scopes["resource"]
    assert "grpc.path" in scopes["span"]
    assert {"name", "status", "duration"} <= set(scopes["intrinsic"])
    assert "grpc.path" in ask(store, "/api/search/tags").json()["tagNames"]
    (only,) = ask(store, "/api/v2/search/tags", scope="resource").json()["scopes"]
    assert only["name"] == "resource"


VALUES = (
    ("resource.service.name", "", ["ingress", "other.name.space", "requester", "svc1", "svc2", "svc3"]),
    ("resource.service.name", '{name="job"}', ["other.name.space"]),
    ("name", "", ["Talk", "egress", "ingress", "job"]),
    ("status", '{resource.service.name="other.name.space"}', ["unset"]),
    (".service.name", '{name="job"}', ["other.name.space"]),
    ("span.grpc.status_code", "{}", ["0", "14"]),
    ("span.grpc%252Estatus_code", "", ["0", "14"]),  # escaped twice, as by Grafana before 12
)


@pytest.mark.parametrize(("tag", "query", "values"), VALUES)
def test_the_values_of_a_tag(store: Store, tag: str, query: str, values: list[str]) -> None:
    asked = {"limit": "5000", "tag": tag, "start": str(START), "end": str(END)} | ({"q": query} if query else {})
    found = ask(store, f"/api/v2/search/tag/{tag}/values", "application/json", **asked).json()["tagValues"]
    assert [one["value"] for one in found] == values
    assert {one["type"] for one in found} <= {"string", "keyword"}


def test_the_first_version_of_tag_values_takes_a_name_alone(store: Store) -> None:
    found = ask(store, "/api/search/tag/service.name/values").json()["tagValues"]
    assert {"svc1", "other.name.space"} <= set(found)


def span_ids(data: TracesData) -> set[str]:
    return {span.span_id.hex() for group in data.resource_spans for scope in group.scope_spans for span in scope.spans}


def test_the_tempo_data_source_gets_a_trace_as_protobuf(store: Store) -> None:
    second = ask(store, f"/api/v2/traces/{TALK}?{TIMES}", "application/protobuf")
    assert second.headers["content-type"] == "application/protobuf"
    # TraceByIDResponse has the trace in its first field, and the trace its resource spans in its first one.
    inner = TracesData.FromString(second.content)
    assert len(inner.resource_spans) == 1
    first = TracesData.FromString(ask(store, f"/api/traces/{TALK}?{TIMES}", "application/protobuf").content)
    assert span_ids(first) == {span["spanId"] for span in store.spans(TALK)}
    assert second.content.endswith(first.SerializeToString())
    assert ask(store, f"/api/v2/traces/{LATER.lstrip('0')}", "application/protobuf").status_code == 200


def test_the_same_path_stays_jaegers_for_who_asks_for_json(store: Store) -> None:
    assert ask(store, f"/api/traces/{TALK}", "application/json").json()["data"][0]["traceID"] == TALK
    assert ask(store, f"/api/v2/traces/{TALK}", "application/json").json()["trace"]["resourceSpans"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v2/traces/72ba4a2af6ad462d2e9a277053550d92", 404),
        ("/api/traces/72ba4a2af6ad462d2e9a277053550d92", 404),
        ("/api/v2/traces/xyz", 400),
    ],
)
def test_a_trace_that_is_not_here(store: Store, path: str, code: int) -> None:
    assert ask(store, path, "application/protobuf").status_code == code


NOT_READ = (
    ("{resource.service.name=", "the query ends early"),
    ("{name}", "expected one of"),
    ("{name = article}", None),
    ("name=1", "expected {"),
    ("{} | count() > 1", "is not known here"),
    ("{} >> {}", "expected the end"),
    ("{duration > 100}", "compared with a time"),
    ("{duration > 1parsec}", "not a duration"),
    ('{event.name="x"}', "is no field"),
    ("{status>error}", "compares numbers"),
    ('{name=~"(a+)+$"}', "is not read here"),
    ('{name=~"[a-z]+"}', "is not read here"),
    ("{" + "(" * 40 + "true" + ")" * 40 + "}", "parentheses"),
    ('{name="' + "a" * 5000 + '"}', "characters"),
    ("{\u202e}", "is not known here"),
)


@pytest.mark.parametrize(("query", "said"), NOT_READ, ids=[query[:30] for query, _ in NOT_READ])
def test_what_is_not_read_of_traceql_is_said_in_a_line(store: Store, query: str, said: str | None) -> None:
    answer = ask(store, "/api/search", q=query)
    if said is None:
        assert answer.status_code == 200  # a bare word is a keyword, which no name is
        return
    assert answer.status_code == 400
    assert answer.text.startswith("invalid TraceQL query: ")
    assert said in answer.text
    assert "\n" not in answer.text
    assert len(answer.text) < 400


@pytest.mark.parametrize(
    ("params", "said"),
    [({"start": "x"}, "invalid start"), ({"limit": "-1"}, "invalid limit"), ({"tags": "a=b"}, "ask by q")],
)
def test_wrong_parameters_are_named(store: Store, params: dict[str, str], said: str) -> None:
    answer = ask(store, "/api/search", **params)
    assert (answer.status_code, said in answer.text) == (400, True)


@pytest.mark.full
def test_the_audit_reads_the_store_as_tempo() -> None:
    with running_store() as one:
        export(f"http://{one.otlp_http}/v1/traces", a_minute_ago(Traffic(cuts=True, seconds=20).spans()))
        url = f"http://{one.http}"
        # Both ask at /api/traces/ID for JSON, which is Jaeger's there: its times are whole microseconds.
        assert audit(url, "--traces-api", "tempo") == audit(url, "--traces-api", "jaeger1")
