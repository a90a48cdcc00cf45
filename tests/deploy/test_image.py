"""The images as a real engine builds and runs them."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from grpc_tracing.version import VERSION
from protos import landing_pb2
from tests.deploy.engine import LOCKED, Container, Images, build, container, docker, plain
from tests.deploy.kubernetes.rendering import K8S, ROOT, render
from tests.support.stub import ask, connect
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(600)]

GRACE = 10


@contextmanager
def running(images: Images, *settings: str, service: str = "svc3") -> Iterator[Container]:
    """A service that answers by itself, on a free port of 127.0.0.1."""
    variables = [part for setting in ("TALK_NEXT_HOP=none", *settings) for part in ("--env", setting)]
    with container(images.service, service, options=("--publish", "127.0.0.1::9996", *variables)) as found:
        wait_for(lambda: '"listening"' in found.logs(), "the service listens")
        yield found


def test_the_service_image_is_at_most_75_mb_above_its_base(built: Images) -> None:
    size, base = (
        int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (built.service, built.base)
    )
    assert 0 < size - base <= 75_000_000


def test_the_service_image_holds_what_the_lock_file_names_and_no_installer(built: Images) -> None:
    names = (
        "import importlib.metadata as m; print(*(d.name for d in m.distributions(path=['/opt/talk/lib/python' + v])))"
    )
    code = f"import sys; v = '%d.%d/site-packages' % sys.version_info[:2]; {names}"
    found = docker("run", "--rm", *LOCKED, "--entrypoint", "python", built.service, "-c", code).split()
    lock = (ROOT / "requirements" / "service.lock").read_text()
    assert {plain(name) for name in found} == {plain(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}


def test_a_service_in_the_image_loads_only_what_it_needs_of_the_library(built: Images) -> None:
    code = "import svc1, talk.server, sys; print(*(name for name in sys.modules if name.startswith('grpc_tracing.')))"
    loaded = docker("run", "--rm", *LOCKED, "--entrypoint", "python", built.service, "-c", code).split()
    parts = {name.split(".")[1] for name in loaded}
    assert {"calling", "headers"} <= parts <= {"calling", "headers", "values", "version"}


def test_the_image_without_the_sdk_says_how_one_is_built_with_it(built: Images) -> None:
    command = ["docker", "run", "--rm", *LOCKED, "--env", "TALK_NEXT_HOP=none", "--env", "TALK_OTEL=on", built.service]
    done = subprocess.run([*command, "svc3"], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "build the image with LOCK=otel" in done.stderr


@pytest.mark.long
def test_the_image_with_the_sdk_serves_with_it(built: Images) -> None:
    named = replace(built, service=f"{built.service}-otel")
    try:
        build(built.base, named.service, "--build-arg", "LOCK=otel")
        with (
            running(named, "TALK_OTEL=on", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1") as found,
            connect(f"127.0.0.1:{found.port(9996)}") as stub,
        ):
            assert landing_pb2.TalkResponse.FromString(stub.talk(ask("0"), timeout=20)).status == 200
    finally:
        subprocess.run(["docker", "rmi", "--force", "--no-prune", named.service], capture_output=True, check=False)


def test_the_image_says_its_version(built: Images) -> None:
    label = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    assert {docker("image", "inspect", "--format", label, name) for name in (built.service, built.mesh)} == {VERSION}


def test_both_images_say_what_they_are_and_run_as_a_numbered_user(built: Images) -> None:
    for name, title in ((built.service, "grpc-tracing"), (built.mesh, "grpc-tracing-mesh")):
        inspected = docker("image", "inspect", "--format", "{{json .Config}}", name)
        assert '"User":"65532:65532"' in inspected
        assert '"Entrypoint":["python","-m"]' in inspected
        for label in (f'title":"{title}"', 'licenses":"Apache-2.0"', 'version":"', 'revision":"', 'description":"'):
            assert f'"org.opencontainers.image.{label}' in inspected


@pytest.mark.parametrize("service", ["svc1", "svc2", "svc3"])
def test_the_service_image_runs_each_service_by_argument(built: Images, service: str) -> None:
    with running(built, service=service) as found, connect(f"127.0.0.1:{found.port(9996)}") as stub:
        answer = landing_pb2.TalkResponse.FromString(stub.talk(landing_pb2.TalkRequest(data="0").SerializeToString()))
        assert answer.results[0].kv["data"] == "Hello"
        assert f'"service": "{service}"' in found.logs()


def test_python_is_the_first_process_and_the_only_one(built: Images) -> None:
    with running(built) as found:
        assert found.processes() == ["python -m svc3"]


def test_docker_stop_lets_a_call_in_flight_finish_and_exits_0_within_the_grace_time(built: Images) -> None:
    with (
        running(built, f"TALK_GRACE={GRACE}s") as found,
        connect(f"127.0.0.1:{found.port(9996)}") as stub,
        ThreadPoolExecutor() as pool,
    ):
        asked = iter(["0", "1", "2"])
        stopping = None
        answers = []
        released = threading.Event()

        def requests() -> Iterator[bytes]:
            yield landing_pb2.TalkRequest(data=next(asked)).SerializeToString()
            released.wait(30)
            for data in asked:
                yield landing_pb2.TalkRequest(data=data).SerializeToString()

        call = stub.talk_bidirectional(requests(), timeout=60)
        answers.append(next(call))
        began = time.monotonic()
        stopping = pool.submit(docker, "stop", "--time", "30", found.identity)
        wait_for(lambda: '"draining"' in found.logs(), "the service drains")
        released.set()
        answers += call
        stopping.result()
        assert len(answers) == 3
        assert time.monotonic() - began < GRACE
        assert found.inspect()["State"]["ExitCode"] == 0


def test_a_call_that_never_ends_is_cut_off_after_the_grace_time_and_the_exit_code_is_0(built: Images) -> None:
    with running(built, "TALK_GRACE=1s") as found, connect(f"127.0.0.1:{found.port(9996)}") as stub:
        hanging = threading.Event()

        def requests() -> Iterator[bytes]:
            yield landing_pb2.TalkRequest(data="0").SerializeToString()
            hanging.wait(60)

        call = stub.talk_bidirectional(requests(), timeout=60)
        next(call)  # it has reached the service
        began = time.monotonic()
        docker("stop", "--time", "30", found.identity)
        took = time.monotonic() - began
        hanging.set()
        assert call.code() is not grpc.StatusCode.OK
        assert took >= 1
        assert found.inspect()["State"]["ExitCode"] == 0


def test_a_bad_setting_ends_the_container_with_2_and_a_line_that_names_it(built: Images) -> None:
    command = ["docker", "run", "--rm", *LOCKED, "--env", "TALK_NEXT_HOP=nowhere", built.service, "svc1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "TALK_NEXT_HOP" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_mesh_image_has_envoy_the_trace_store_and_the_requester(built: Images) -> None:
    assert "/1.4" in docker("run", "--rm", *LOCKED, "--entrypoint", "envoy", built.mesh, "--version")
    for module in ("grpc_tracing", "client", "mesh"):
        assert "usage:" in docker("run", "--rm", *LOCKED, built.mesh, module, "--help")


def test_the_waiting_client_of_the_base_ends_at_once_when_told_to(built: Images) -> None:
    (client,) = (one for one in render(K8S / "base") if one["metadata"]["name"] == "grpc-client")
    command = client["spec"]["template"]["spec"]["containers"][0]["command"]
    with container(built.mesh, *command[1:], options=("--entrypoint", command[0])) as found:
        wait_for(lambda: int(found.status()["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1, "the client waits")
        docker("stop", "--time", "30", found.identity)
        assert found.inspect()["State"]["ExitCode"] == 0
