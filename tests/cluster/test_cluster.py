"""The chain on a real cluster: deployed, tested, attacked, restarted under load, and taken away."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc.aio
import pytest
import yaml

from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl
from protos import landing_pb2
from tests.cluster.real import MESH_NAMESPACE, NAMESPACE, Cluster
from tests.deploy.kubernetes.cluster import an_object
from tests.deploy.kubernetes.rendering import ROOT
from tests.hostile.peer import Peer, changed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TALK = b"/org.feuyeux.grpc.LandingService/Talk"
HOSTILE = (TALK + b"?\xff", TALK + b"?x=\xc3\x28", TALK + b"\xff", b"/\xff\xfe/Talk", b"/%FF/Talk")
FRAGMENT = TALK + b"#\xff"
"""The gateway takes it off, and the call goes on as any other."""


@pytest.fixture(scope="module")
def deployed(cluster: Cluster) -> Iterator[Cluster]:
    done = cluster.up()
    assert done.returncode == 0, done.stderr
    yield cluster
    assert cluster.run("apply", "k8s", "down").returncode == 0


@pytest.fixture
def ingress(deployed: Cluster) -> Iterator[str]:
    with Gateway.of_the_mesh(MESH_NAMESPACE).reached(Kubectl("the cluster")) as address:
        yield address


def test_the_chain_is_connected(deployed: Cluster) -> None:
    found = deployed.verdict()
    assert (found["verdict"], len(found["calls"])) == ("connected", 4), found


def test_it_is_connected_from_inside_as_well(deployed: Cluster) -> None:
    done = deployed.test("--in-cluster", "--json", "--rpc", "Talk")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "connected"
    assert deployed.kubectl("get", "jobs", "--namespace", NAMESPACE, "--output", "name") == ""


def test_a_second_apply_would_change_nothing(deployed: Cluster) -> None:
    done = deployed.up("--dry-run")
    assert done.stdout.endswith("objects, none of which would change\n"), done.stdout


def test_a_hop_that_forwards_nothing_is_named_and_the_printed_command_mends_it(deployed: Cluster) -> None:
    svc2 = ("deployment/grpc-server-svc2", "--namespace", NAMESPACE)
    deployed.kubectl("set", "env", *svc2, "TALK_PROPAGATE=none")
    deployed.kubectl("rollout", "status", *svc2, "--timeout=120s")
    found = deployed.verdict("--rpc", "Talk")
    assert found["verdict"] == "broken", found
    assert "svc2 received" in found["calls"][0]["problems"][0]
    said = [line for line in deployed.up().stderr.splitlines() if "TALK_PROPAGATE" in line]
    assert deployed.shell(said[0].rpartition("which stays: ")[2]).returncode == 0
    deployed.kubectl("rollout", "status", *svc2, "--timeout=120s")
    assert deployed.verdict("--rpc", "Talk")["verdict"] == "connected"


def test_a_scaled_service_stays_scaled(deployed: Cluster) -> None:
    svc3 = ("deployment/grpc-server-svc3", "--namespace", NAMESPACE)
    deployed.kubectl("scale", *svc3, "--replicas=3")
    assert deployed.up().returncode == 0
    assert deployed.kubectl("get", *svc3, "--output", "jsonpath={.spec.replicas}") == "3"
    deployed.kubectl("scale", *svc3, "--replicas=2")


async def _long_stream(target: str, over: threading.Event) -> int:
    """The number of answers of a stream that goes on until something is over; an error where it is cut short."""
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.stream_stream(
            "/org.feuyeux.grpc.LandingService/TalkBidirectional",
            request_serializer=landing_pb2.TalkRequest.SerializeToString,
            response_deserializer=landing_pb2.TalkResponse.FromString,
        )(timeout=60)
        answers = 0
        while not over.is_set():
            await call.write(landing_pb2.TalkRequest(data=str(answers % 5), meta="long"))
            assert await call.read() != grpc.aio.EOF
            answers += 1
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        return answers


def _attack(target: str, path: bytes) -> str:
    """How the call ends."""
    with Peer(target) as peer:
        return peer.ask(changed(_path=path))


def test_hostile_paths_end_nobody_else_s_call(ingress: str) -> None:
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        streams = [pool.submit(asyncio.run, _long_stream(ingress, over)) for _ in range(4)]
        try:
            endings = {path: _attack(ingress, path) for path in (*HOSTILE, FRAGMENT) * 3}
        finally:
            over.set()
        assert all(stream.result() > 0 for stream in streams)
    assert {endings[path] for path in HOSTILE} == {"grpc 7"}, endings
    assert endings[FRAGMENT] == "grpc 0"


def _under_load(target: str, seconds: int) -> subprocess.Popen[str]:
    load = (
        sys.executable,
        "-m",
        "client",
        "load",
        "--target",
        target,
        "--rate",
        "20",
        "--warmup",
        "0",
        "--timeout",
        "20s",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*load, "--duration", f"{seconds}s", "--processes", "1", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_restarts_under_load_lose_no_call(deployed: Cluster, ingress: str) -> None:
    with _under_load(ingress, 60) as load:
        for number in (1, 2, 3):
            deployed.restart(NAMESPACE, f"deployment/grpc-server-svc{number}")
        text, _ = load.communicate()
    found = json.loads(text)
    assert found["errors"] in ({}, 0, []), found
    assert load.returncode == 0


def test_down_takes_nothing_of_others(deployed: Cluster) -> None:
    theirs = (
        an_object("v1", "ConfigMap", "theirs", NAMESPACE, data={"a": "b"}),
        an_object("v1", "Service", "theirs", NAMESPACE, spec={"ports": [{"port": 80}]}),
        an_object("v1", "Secret", "theirs", NAMESPACE, stringData={"a": "b"}),
    )
    deployed.apply(*theirs)
    done = deployed.run("apply", "k8s", "down")
    assert done.returncode == 0, done.stderr
    assert "it holds configmap/theirs, secret/theirs, service/theirs" in done.stderr
    for one in theirs:
        deployed.kubectl("get", one["kind"], "theirs", "--namespace", NAMESPACE)
    deployed.kubectl("delete", "--filename", "-", given=yaml.safe_dump_all(theirs))
