"""`client call --traces` through a real mesh: the trace read back, whole or in pieces, or not at all."""

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.client.run import Finished, client
from tests.mesh.support import Mesh, mesh
from tests.store.support import running_store
from tests.support.cells import rows
from tests.support.processes import chain

EDGES = [["requester", "ingress"], ["ingress", "svc1"], ["svc1", "svc2"], ["svc2", "svc3"]]


@pytest.fixture
def whole(shared_mesh: Mesh) -> Mesh:
    return shared_mesh


def call(one: Mesh, *arguments: str) -> Finished:
    facts = one.facts
    return client("call", "--target", one.target, "--traces", facts["traces"], "--otlp", facts["otlp_http"], *arguments)


def test_every_call_is_one_whole_trace_of_seven_spans(whole: Mesh) -> None:
    ended = call(whole, "--json", "--repeat", "2")
    assert (ended.code, ended.notes) == (0, [])
    assert ended.json["problems"] == []
    assert len(ended.json["calls"]) == 8
    for one in ended.json["calls"]:
        found = {key: one[key] for key in ("verdict", "traces", "spans", "edges", "problems")}
        assert found == {"verdict": "connected", "traces": 1, "spans": 7, "edges": EDGES, "problems": []}


def test_without_a_place_for_its_root_span_the_ingress_begins_the_trace(whole: Mesh) -> None:
    ended = client(
        *("call", "--target", whole.target, "--traces", whole.facts["traces"], "--json"),
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    )
    assert ended.code == 0, ended
    assert ended.notes == [
        "note: nothing takes spans at http://127.0.0.1:1: the requester sends no root span of its own"
    ]
    assert {(one["spans"], json.dumps(one["edges"])) for one in ended.json["calls"]} == {(6, json.dumps(EDGES[1:]))}


def test_a_trace_context_of_the_users_own_is_kept(whole: Mesh) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    ended = call(whole, "--json", "--rpc", "Talk", "-H", f"traceparent: 00-{trace}-00f067aa0ba902b7-01")
    assert ended.code == 0, ended
    (one,) = ended.json["calls"]
    assert (one["trace_id"], one["spans"], one["edges"]) == (trace, 6, EDGES[1:])


def test_several_calls_in_a_trace_of_the_users_own_are_whole(whole: Mesh) -> None:
    ended = call(whole, "--json", "-H", "traceparent: 00-1af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
    assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended


def test_with_the_sdk_disabled_there_is_no_root_span(whole: Mesh) -> None:
    otlp = ("--otlp", whole.facts["otlp_http"])
    ended = client(
        "call", "--target", whole.target, *otlp, "--rpc", "Talk", "--json", env={"OTEL_SDK_DISABLED": "true"}
    )
    assert (ended.code, ended.notes) == (0, []), ended


def test_the_edge_folds_tracestate_and_nobody_is_blamed(whole: Mesh) -> None:
    ended = call(whole, "--json", "--rpc", "Talk", "-H", "tracestate: a=1", "-H", "tracestate: b=2")
    assert (ended.code, ended.json["calls"][0]["problems"]) == (0, [])
    assert "between the requester and svc1: 2 tracestate headers were folded into one, comma-joined" in ended.err


def test_the_version_that_served_is_named(whole: Mesh) -> None:
    ended = call(whole, "-H", "x-lane: canary")
    assert ended.code == 0, ended
    assert "all 4 calls passed svc1, svc2, svc3 (canary) in one trace each" in ended.out


def test_the_tree_is_drawn_and_the_workloads_are_named(whole: Mesh) -> None:
    lines = call(whole, "--rpc", "Talk").out.splitlines()
    assert any("svc2 v1; called by svc1; received" in line for line in lines)
    tree = [line.split(" Talk ")[0] for line in lines if line.endswith(" ms") and " Talk " in line]
    assert [line.strip() for line in tree] == [
        *("requester client", "ingress client", "svc1 server", "svc1 client", "svc2 server", "svc2 client"),
        "svc3 server",
    ]
    assert [len(line) - len(line.lstrip()) for line in tree] == [2, 4, 6, 8, 10, 12, 14]


def test_a_report_holds_the_views_in_one_file(whole: Mesh, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ended = call(whole, "--json", "--report", str(report))
    assert ended.code == 0, ended
    page = report.read_text()
    for one in ended.json["calls"]:
        assert one["trace_id"] in page
    assert all(name in page for name in ("requester", "ingress", "svc1", "svc2", "svc3", "connected"))
    assert "<script" not in page
    assert not re.search(r"(src|href)=.https?:", page)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_note_of_each_call_is_left_at_the_store(whole: Mesh) -> None:
    ended = call(whole, "--json", "--rpc", "Talk", "--expect", "svc1,svc3,svc2")
    page = httpx.get(f"{whole.facts['traces']}/trace/{ended.json['calls'][0]['trace_id']}", trust_env=False)
    assert page.status_code == 200
    assert "the path was svc1, svc2, svc3, expected svc1, svc3, svc2" in page.text


BROKEN = [
    (["svc2=none"], 2, ["svc2"]),
    (["svc1=none", "svc2=none"], 3, ["svc1", "svc2"]),
]


@pytest.mark.parametrize(("off", "traces", "blamed"), rows(BROKEN, BROKEN[:1]))
def test_with_propagation_off_the_pieces_are_counted_and_the_hops_blamed(
    off: list[str], traces: int, blamed: list[str]
) -> None:
    with mesh(*(word for service in off for word in ("--propagate", service))) as one:
        ended = call(one, "--json")
    assert (ended.code, ended.json["verdict"]) == (1, "broken")
    for made in ended.json["calls"]:
        assert (made["traces"], made["spans"], made["edges"]) == (traces, 7, EDGES)
        assert [problem.split()[0] for problem in made["problems"]] == blamed
        assert all(f": {traces} traces, expected 1" in problem for problem in made["problems"])


@pytest.mark.full
def test_a_lane_that_svc2_drops_is_blamed_on_svc2() -> None:
    with mesh("--propagate", "svc2=w3c") as one:
        # x-request-id is on no list of svc2's then either.
        ended = call(one, "--rpc", "Talk", "--json", "-H", "x-asm-prefer-tag: canary")
    (problem,) = ended.json["calls"][0]["problems"]
    assert problem.startswith("svc2 received ")
    assert "x-asm-prefer-tag" in problem


@pytest.mark.full
def test_a_dead_trace_store_fails_no_call_and_is_told() -> None:
    with mesh() as one:
        one.kill("traces")
        ended = call(one, "--json")
    # The records alone show it.
    assert (ended.code, ended.json["verdict"], ended.json["problems"]) == (0, "connected", [])
    assert "the traces could not be read, the records alone show it: nothing answers at http://127.0.0.1:" in ended.err
    for made in ended.json["calls"]:
        assert (made["status"], made["verdict"], made["spans"], made["edges"]) == ("OK", "connected", None, None)


@pytest.mark.full
def test_without_sidecars_the_missing_spans_are_told(tmp_path: Path) -> None:
    with running_store() as store, chain(tmp_path) as running:
        stores = ("--traces", f"http://{store.http}", "--otlp", f"http://{store.otlp_http}")
        ended = client("call", "--target", running.target, *stores, "--wait", "2s", "--rpc", "Talk", "--json")
    assert (ended.code, ended.json["verdict"]) == (3, "unproven")
    (problem,) = ended.json["calls"][0]["problems"]
    assert problem.startswith("the backend has no span of a sidecar for this call")


@pytest.mark.full
def test_a_deadline_names_the_deepest_hop_that_left_a_span() -> None:
    with mesh("--faults", "svc2=delay:30s:100%") as one:
        ended = call(one, "--rpc", "Talk", "--json", "--timeout", "500ms")
    assert (ended.code, ended.json["verdict"]) == (1, "failed")
    (made,) = ended.json["calls"]
    assert made["status"] == "DEADLINE_EXCEEDED"
    assert made["problems"] == ["no answer within 0.5s: the deepest hop that left a span is svc2 [no-answer]"]
