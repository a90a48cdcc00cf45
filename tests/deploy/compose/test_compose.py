"""compose.yaml on a real engine: the verdict, the locks, what a failure does, and what is left afterwards."""

import json
import os
import signal
import time

import pytest

from chain import topology
from tests.deploy.compose.composed import Project
from tests.deploy.engine import Images, docker, pause
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(600)]

PODS = [f"{service}{part}" for service in topology.DEFAULT.services for part in ("", "-pod", "-sidecar")]
RUNNING = sorted([*PODS, "ingress", "traces"])
EDGES = [["requester", "ingress"], ["ingress", "svc1"], ["svc1", "svc2"], ["svc2", "svc3"]]

RECOVERY = 3.0
"""Seconds that the chain should take from the return of a part; a test fails at ten times that."""


def test_the_verdict_is_the_local_mesh_s(compose: Project) -> None:
    code, found = compose.test()
    assert (code, found["verdict"], found["problems"]) == (0, "connected", [])
    seen = [(call["verdict"], call["traces"], call["spans"], call["edges"]) for call in found["calls"]]
    assert seen == [("connected", 1, 7, EDGES)] * 4


def test_every_hop_knows_its_caller_by_its_identity(compose: Project) -> None:
    _, found = compose.test("--rpc", "Talk")
    peers = [hop["peer"] for hop in found["calls"][0]["hops"]]
    assert peers == [topology.spiffe_id(caller) for caller in (topology.INGRESS, "svc1", "svc2")]


def test_there_is_a_pod_of_three_for_each_service_and_no_more(compose: Project) -> None:
    assert compose.services() == sorted([*RUNNING, "identities"])


@pytest.mark.parametrize("service", RUNNING)
def test_each_container_is_locked(compose: Project, service: str) -> None:
    status = compose.container(service).status()
    assert status["Uid"].split() == ["65532"] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2", "a filter is in force"
    written = "open('/app/planted', 'w')"
    with pytest.raises(AssertionError, match="Read-only file system"):
        docker("exec", "--user", "0", f"{compose.name}-{service}-1", "python", "-c", written)


def test_the_one_shot_is_locked_and_has_no_network(compose: Project) -> None:
    host = compose.container("identities").inspect()["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["NetworkMode"]) == (True, ["ALL"], "none")
    assert host["SecurityOpt"] == ["no-new-privileges:true"]


def test_ports_are_open_on_the_loopback_alone(compose: Project) -> None:
    for service in compose.services():
        published = compose.container(service).inspect()["HostConfig"]["PortBindings"] or {}
        hosts = {binding["HostIp"] for bindings in published.values() for binding in bindings}
        assert hosts <= {"127.0.0.1"}
        assert bool(published) == (service in ("ingress", "traces"))


@pytest.mark.parametrize("workload", ["ingress", *topology.DEFAULT.services])
def test_a_workload_sees_no_identity_but_its_own(compose: Project, workload: str) -> None:
    container = "ingress" if workload == "ingress" else f"{workload}-sidecar"
    listing = "import os; print(*sorted(os.listdir('/pod')))"
    found = docker("exec", f"{compose.name}-{container}-1", "python", "-c", listing).split()
    assert found == ["ca.pem", "envoy.yaml", f"{workload}.key", f"{workload}.pem"]


CALLS = [
    ("svc2-sidecar", ("--cert", "/pod/svc2.pem", "--key", "/pod/svc2.key"), "OK"),
    ("svc1-sidecar", ("--cert", "/pod/svc1.pem", "--key", "/pod/svc1.key"), "PERMISSION_DENIED"),
    ("ingress", ("--cert", "/pod/ingress.pem", "--key", "/pod/ingress.key"), "PERMISSION_DENIED"),
    ("svc2-sidecar", (), "UNAVAILABLE"),
]


@pytest.mark.parametrize(("caller", "identity", "status"), CALLS)
def test_svc3_s_sidecar_lets_in_svc2_and_nobody_else(
    compose: Project, caller: str, identity: tuple[str, ...], status: str
) -> None:
    call = ("python", "-m", "client", "call", "--json", "--rpc", "Talk", "--expect", "svc3", "--timeout", "5s")
    tls = ("--target", "grpc-server-svc3:9996", "--tls", "--ca", "/pod/ca.pem", *identity)
    assert _status(compose, caller, *call, *tls) == status


def test_svc3_s_sidecar_takes_no_plaintext(compose: Project) -> None:
    call = ("python", "-m", "client", "call", "--json", "--rpc", "Talk", "--expect", "svc3", "--timeout", "5s")
    assert _status(compose, "svc2-sidecar", *call, "--target", "grpc-server-svc3:9996") == "UNAVAILABLE"


def test_svc3_itself_cannot_be_reached_past_its_sidecar(compose: Project) -> None:
    connect = "import socket; socket.create_connection(('grpc-server-svc3', 9995), 5)"
    with pytest.raises(AssertionError, match="ConnectionRefusedError"):
        docker("exec", f"{compose.name}-svc2-1", "python", "-c", connect)


def _status(compose: Project, caller: str, *command: str) -> str:
    code = f"import subprocess; print(subprocess.run({list(command)}, capture_output=True, text=True).stdout)"
    said = docker("exec", f"{compose.name}-{caller}-1", "python", "-c", code)
    return str(json.loads(said)["calls"][0]["status"]) if said else "UNAVAILABLE"


def test_apply_a_second_time_changes_nothing(compose: Project) -> None:
    def identities() -> list[tuple[str, str]]:
        found = [compose.container(service).inspect() for service in RUNNING]
        return [(one["Id"], one["State"]["StartedAt"]) for one in found]

    before, keys = identities(), _keys(compose)
    compose.up()
    assert identities() == before
    assert _keys(compose) == keys


def _keys(compose: Project) -> list[str]:
    read = "print(open('/pod/{0}.key').read())"
    return [
        docker("exec", f"{compose.name}-{service}-sidecar-1", "python", "-c", read.format(service))
        for service in topology.DEFAULT.services
    ]


def _recover(compose: Project, began: float) -> float:
    """Seconds until the verdict is whole again."""
    wait_for(lambda: compose.test("--timeout", "1s")[0] == 0, "the chain is whole again", timeout=10 * RECOVERY)
    return time.monotonic() - began


def _report(compose: Project, what: str, found: dict[str, object], recovery: float) -> None:
    calls = found["calls"]
    assert isinstance(calls, list)
    print(  # noqa: T201 a figure for who runs it with -s
        f"{what}: {sorted({call['status'] for call in calls})}, whole again after {recovery:.1f} s"
    )


@pytest.mark.parametrize("part", ["svc2", "svc2-sidecar"])
def test_a_killed_part_is_named_and_the_chain_is_whole_once_it_is_back(compose: Project, part: str) -> None:
    docker("kill", f"{compose.name}-{part}-1")
    code, found = compose.test("--timeout", "2s")
    assert code == 1
    assert {call["status"] for call in found["calls"]} == {"UNAVAILABLE"}
    assert all("svc2" in problem for problem in found["problems"])
    docker("start", f"{compose.name}-{part}-1")
    _report(compose, f"{part} killed", found, _recover(compose, time.monotonic()))


@pytest.mark.parametrize("part", ["svc2", "svc2-sidecar"])
def test_a_paused_part_costs_the_deadline_and_the_chain_is_whole_once_it_goes_on(compose: Project, part: str) -> None:
    pause(f"{compose.name}-{part}-1")
    try:
        code, found = compose.test("--timeout", "2s")
    finally:
        docker("unpause", f"{compose.name}-{part}-1")
    began = time.monotonic()
    assert code == 1
    assert {call["status"] for call in found["calls"]} == {"DEADLINE_EXCEEDED"}
    assert all("no answer within 2s" in str(call["problems"]) for call in found["calls"])
    _report(compose, f"{part} paused", found, _recover(compose, began))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill a container's process from outside")
def test_a_part_that_crashes_comes_back_by_itself(compose: Project) -> None:
    sidecar = compose.container("svc2-sidecar")
    assert sidecar.inspect()["RestartCount"] == 0
    # From another container of the pod nobody may signal it; the engine's own kill counts as told to stop.
    os.kill(sidecar.inspect()["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: sidecar.inspect()["RestartCount"] == 1, "the engine starts it again")
    _recover(compose, time.monotonic())


@pytest.mark.chaos
@pytest.mark.parametrize("service", RUNNING)
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_the_chain_outlives_any_container(compose: Project, service: str, how: str) -> None:
    name = f"{compose.name}-{service}-1"
    docker("kill", name) if how == "kill" else pause(name)
    try:
        code, found = compose.test("--timeout", "2s")
    finally:
        docker("start" if how == "kill" else "unpause", name)
    began = time.monotonic()
    if service.endswith("-pod") and how == "kill":
        compose.up()  # its service and its sidecar live in a network that is gone
    statuses = sorted({call["status"] for call in found.get("calls", [])})
    what = f"exit code {code}, {', '.join(statuses) or 'nothing answers'}"
    print(f"{service} {how}: {what}; whole again after {_recover(compose, began):.1f} s")  # noqa: T201 for who runs it with -s


def test_down_leaves_nothing_of_ours_and_touches_no_other(compose: Project, built: Images) -> None:
    """The last one: nothing is up afterwards."""
    other = f"bystander-{time.monotonic_ns()}"
    docker("network", "create", other)
    docker("volume", "create", other)
    docker("run", "--detach", "--name", other, "--network", other, "--entrypoint", "sleep", built.service, "600")
    try:
        assert all(compose.left().values())
        assert compose.apply("down").returncode == 0
        assert compose.left() == {"container": [], "network": [], "volume": []}
        assert docker("inspect", "--format", "{{.State.Running}}", other) == "true"
        assert other in docker("network", "ls", "--format", "{{.Name}}").split()
        assert other in docker("volume", "ls", "--format", "{{.Name}}").split()
    finally:
        docker("rm", "--force", other)
        docker("network", "rm", other)
        docker("volume", "rm", other)
