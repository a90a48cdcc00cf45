"""Chains of other lengths than three."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from chain import topology
from grpc_tracing.store.options import parse
from grpc_tracing.store.store import Limits
from mesh.options import Options
from mesh.plan import Ports, Process, plan, workloads
from mesh.state import State
from tests.mesh.support import Mesh, call, channel, credentials, mesh, run, talk

FIVE = topology.of_length(5)
PATTERNS = 4


def requester(*arguments: str, code: int = 0) -> list[Any]:
    """The calls that `test.sh local` reports, in all four patterns unless the arguments say otherwise."""
    done = run("-m", "deploy", "test", "local", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    calls: list[Any] = json.loads(done.stdout)["calls"]
    return calls


@pytest.fixture(scope="module")
def five() -> Iterator[Mesh]:
    with mesh("--hops", "5") as one:
        yield one


def test_the_requester_finds_five_services_connected_and_eleven_spans(five: Mesh) -> None:
    calls = requester("--state", str(five.state))
    assert [(one["verdict"], one["path"], one["spans"], one["traces"]) for one in calls] == [
        ("connected", list(FIVE.services), 11, 1)
    ] * PATTERNS


def test_what_the_user_expects_holds(five: Mesh) -> None:
    (one,) = requester("--state", str(five.state), "--rpc", "Talk", "--expect", "svc1,svc2", code=1)
    assert "expected svc1, svc2" in " ".join(one["problems"])


def test_status_says_which_services_there_are(five: Mesh) -> None:
    assert five.status()["services"] == list(FIVE.services)


@pytest.mark.parametrize("caller", FIVE.identities)
@pytest.mark.parametrize("service", FIVE.services)
def test_each_service_lets_in_its_own_callers_alone(five: Mesh, caller: str, service: str) -> None:
    with channel(five.facts["inbound"][service], credentials(five, caller), topology.host(service)) as connection:
        code = talk(connection).code
    allowed = (caller, service) in FIVE.edges
    assert code is (grpc.StatusCode.OK if allowed else grpc.StatusCode.PERMISSION_DENIED)


def test_each_service_learns_its_callers_identity_and_the_lane_goes_to_its_end(five: Mesh) -> None:
    hops = call(five.target, ("x-lane", "canary"), ("end-user", "alice")).hops
    assert [hop.peer for hop in hops] == [
        topology.spiffe_id(caller) for caller in ("ingress", "svc1", "svc2", "svc3", "svc4")
    ]
    assert [hop.version for hop in hops] == ["v1", "v1", "canary", "v1", "v1"]
    for key in ("x-lane", "end-user"):
        assert all(key in {header.key for header in hop.headers} for hop in hops), key


@pytest.mark.full
def test_two_services_are_a_chain() -> None:
    calls = requester("--hops", "2")
    assert [(one["verdict"], one["path"], one["spans"]) for one in calls] == [
        ("connected", ["svc1", "svc2"], 5)
    ] * PATTERNS


@pytest.mark.full
def test_without_envoys_the_services_are_chained_alone() -> None:
    calls = requester("--hops", "9", "--no-mesh")
    services = list(topology.of_length(9).services)
    assert [(one["verdict"], one["path"]) for one in calls] == [("connected", services)] * PATTERNS


def test_the_hop_that_does_not_forward_is_named() -> None:
    (one,) = requester("--hops", "5", "--no-mesh", "--propagate", "svc4=none", "--rpc", "Talk", code=1)
    assert one["verdict"] == "broken"
    assert any(problem.startswith("svc4 ") for problem in one["problems"]), one["problems"]


@pytest.mark.full
def test_a_fault_strikes_at_a_later_service_and_a_foreign_hop_stands_in_for_one() -> None:
    foreign = f"svc3='{sys.executable}' -m tests.mesh.foreign_hop nothing"
    with mesh("--hops", "4", "--faults", "svc4=delay:300ms:100%", "--run", foreign) as one:
        outcome = call(one.target)
    assert (outcome.code, outcome.path) == (grpc.StatusCode.OK, ["svc1", "svc2", "svc4"])
    assert outcome.hops[1].later_us >= 300_000


def processes(folder: Path, **options: Any) -> tuple[Process, ...]:
    wanted = Options(envoy="/envoy", **options)
    ports = Ports(entry=1, inbound={one.name: 2 for one in workloads(wanted)}, pages=3, otlp_grpc=4, otlp_http=5)
    return plan(wanted, State(folder), ports).processes


def planned(folder: Path, **options: Any) -> list[str]:
    return [process.name for process in processes(folder, **options)]


def test_the_store_is_told_how_much_to_keep_and_nothing_else_than_was_asked(tmp_path: Path) -> None:
    (asked, *_), (plain, *_) = processes(tmp_path, max_traces=9, max_bytes=2**30, tail=10.0), processes(tmp_path)
    read = parse([*asked.command[4:]])
    assert (read.limits.traces, read.limits.size, read.tail) == (9, 2**30, 10.0)
    assert parse([*plain.command[4:]]).limits == Limits()


def test_each_service_has_its_replicas_and_only_the_lanes_service_a_canary(tmp_path: Path) -> None:
    names = planned(tmp_path, hops=4, replicas=2)
    services = ["svc1", "svc1-2", "svc2", "svc2-2", "svc3", "svc3-2", "svc4", "svc4-2", "svc3-canary"]
    assert names == ["traces", *services, "ingress", *(f"{name}-sidecar" for name in services)]


def test_a_chain_without_the_lanes_service_has_no_canary(tmp_path: Path) -> None:
    assert planned(tmp_path, hops=2) == ["traces", "svc1", "svc2", "ingress", "svc1-sidecar", "svc2-sidecar"]
