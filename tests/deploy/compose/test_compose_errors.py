"""What apply.sh compose says when it cannot: one line that names the fix, and nothing is changed."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.compose import place as compose
from tests.deploy.compose.composed import OPTIONS
from tests.deploy.engine import need_engine
from tests.deploy.kubernetes.rendering import ROOT
from tests.support.ports import free_ports
from tests.support.processes import chain

needs_client = pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")


def deploy(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *arguments]
    settings = os.environ | {"COMPOSE_PROJECT_NAME": "grpc-tracing-test-errors"} | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("action", ["apply", "test"])
def test_without_docker_it_names_what_to_install(action: str, tmp_path: Path) -> None:
    done = deploy(action, "compose", PATH=str(tmp_path))
    assert done.returncode == (2 if action == "test" else 1)
    assert done.stderr == (
        "compose: docker is not installed: install Docker with Compose 2.21 or later,"
        " or use ./apply.sh local, which needs neither\n"
    )


@needs_client
@pytest.mark.parametrize("arguments", [("apply", "compose"), ("apply", "compose", "down"), ("test", "compose")])
def test_without_an_engine_it_says_where_it_looked(arguments: tuple[str, ...]) -> None:
    done = deploy(*arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == (2 if arguments[0] == "test" else 1)
    assert "no Docker engine answers" in done.stderr
    assert "unix:///nowhere/docker.sock" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_client
def test_with_a_docker_that_cannot_compose_it_says_so(tmp_path: Path) -> None:
    stand_in = tmp_path / "docker"
    stand_in.write_text("#!/bin/sh\necho \"docker: 'compose' is not a docker command.\" >&2\nexit 1\n")
    stand_in.chmod(0o755)
    done = deploy("apply", "compose", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "docker has no compose command: install Docker with Compose 2.21 or later" in done.stderr


def docker_stand_in(folder: Path, compose: str) -> dict[str, str]:
    """The environment in which `docker` is an engine with this Compose and no containers; `config` needs no engine."""
    program = folder / "docker"
    config = f'*" config "*) exec {shutil.which("docker")} "$@" ;;'
    program.write_text(f'#!/bin/sh\ncase "$*" in\n"compose version --short") echo {compose} ;;\n{config}\nesac\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("version", "is_too_old"),
    [("2.20.3", True), ("v1.29.2", True), ("2.21.0", False), ("v2.26.1-4", False), ("5.0.1", False), ("dev", False)],
)
def test_a_compose_that_prints_another_json_is_too_old(version: str, is_too_old: bool, tmp_path: Path) -> None:
    done = deploy("test", "compose", **docker_stand_in(tmp_path, version))
    assert (done.returncode, "is too old: install Docker with Compose 2.21" in done.stderr) == (2, is_too_old)


def test_while_it_builds_it_says_where_it_is(tmp_path: Path) -> None:
    steps = r"#5 [internal] load\n#7 [build-mesh 3/5] RUN pip install\n#7 0.5 Collecting grpcio\n#7 ERROR: no space"
    build = f"*build) printf '{steps}'; exit 1 ;;"
    config = """*" config "*) echo '{"services": {"ingress": {"ports": []}, "traces": {"ports": []}}}' ;;"""
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n"compose version --short") echo 2.26.1 ;;\n{config}\n{build}\nesac\n')
    program.chmod(0o755)
    done = deploy("apply", "compose", PATH=f"{tmp_path}:{os.environ['PATH']}")
    said = done.stderr.splitlines()
    assert (done.returncode, said[1]) == (1, "compose: building internal: load")
    assert said[2] == "compose: the images cannot be built:", "not each step is said"
    assert "#7 ERROR: no space" in said


@needs_client
def test_a_port_in_the_environment_that_is_none_is_said_with_the_variables(tmp_path: Path) -> None:
    done = deploy("apply", "compose", **docker_stand_in(tmp_path, "2.26.1"), INGRESS_PORT="abc")
    assert done.returncode == 1
    assert done.stderr.lower().startswith(
        "compose: compose.yaml cannot be used: invalid hostport: abc (see ingress_port,"
    )


@needs_client
def test_a_taken_port_that_the_file_env_names_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        (tmp_path / "own.env").write_text(f"PAGES_PORT={number}\nINGRESS_PORT={free_ports(1)[0]}\n")
        # As the file .env beside compose.yaml, which is the user's.
        given = {"COMPOSE_ENV_FILES": str(tmp_path / "own.env"), **docker_stand_in(tmp_path, "2.26.1")}
        done = deploy("apply", "compose", **given)
    assert done.returncode == 1
    assert f"port {number} (the trace pages) is taken: --pages-port N takes another" in done.stderr


@needs_client
@pytest.mark.parametrize("port", [compose.JAEGER_PAGES, compose.JAEGER_OTLP])
def test_jaeger_s_ports_are_looked_at_where_it_is_asked_for(port: compose.Port, tmp_path: Path) -> None:
    numbers = [str(number) for number in free_ports(5)]
    others = [one.option for one in (*compose.PORTS, *compose.JAEGER_PORTS) if one is not port]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        options = [part for pair in zip(others, numbers, strict=True) for part in pair]
        arguments = ("apply", "compose", "--jaeger", port.option, number, *options)
        done = deploy(*arguments, **docker_stand_in(tmp_path, "2.26.1"))
    assert done.returncode == 1
    assert f"port {number} ({port.what}) is taken: {port.option} N takes another" in done.stderr


@pytest.mark.full
@pytest.mark.parametrize("option", [("--target", "{}"), ("--target={}",)])
def test_a_target_that_is_named_is_called_with_nothing_up(option: tuple[str, ...], tmp_path: Path) -> None:
    with chain(tmp_path) as running:
        named = [part.format(running.target) for part in option]
        done = deploy("test", "compose", "--rpc", "Talk", "--json", *named, **docker_stand_in(tmp_path, "2.26.1"))
    assert done.returncode == 0, done.stderr


@pytest.mark.docker
def test_a_taken_port_is_named_with_the_option_that_moves_it() -> None:
    need_engine()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = deploy("apply", "compose", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} (the ingress) is taken: --port N takes another" in done.stderr


@pytest.mark.docker
def test_a_test_with_nothing_up_exits_2_and_says_what_brings_it_up() -> None:
    need_engine()
    done = deploy("test", "compose")
    assert (done.returncode, done.stderr) == (2, "compose: nothing is up: ./apply.sh compose brings it up\n")


@pytest.mark.full
@pytest.mark.docker
def test_an_image_that_cannot_be_built_is_said_with_the_builder_s_words() -> None:
    need_engine()
    ports = [text for pair in zip(OPTIONS, map(str, free_ports(4)), strict=True) for text in pair]
    done = deploy("apply", "compose", *ports, BASE_IMAGE="invalid.invalid/none:1")
    assert done.returncode == 1
    assert "the images cannot be built" in done.stderr
    assert "BASE_IMAGE names another base image" in done.stderr
