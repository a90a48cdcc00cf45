"""What apply.sh compose says when it cannot: one line that names the fix, and nothing is changed."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.engine import need_engine
from tests.deploy.rendering import ROOT

needs_client = pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")


def deploy(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *arguments]
    settings = os.environ | {"COMPOSE_PROJECT_NAME": "grpc-tracing-test-errors"} | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("action", ["apply", "test"])
def test_without_docker_it_names_what_to_install(action: str, tmp_path: Path) -> None:
    done = deploy(action, "compose", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "compose: docker is not installed: install Docker with Compose 2.21 or later,"
        " or use ./apply.sh local, which needs neither\n"
    )


@needs_client
@pytest.mark.parametrize("arguments", [("apply", "compose"), ("apply", "compose", "down"), ("test", "compose")])
def test_without_an_engine_it_says_where_it_looked(arguments: tuple[str, ...]) -> None:
    done = deploy(*arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 1
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


@pytest.mark.docker
def test_an_image_that_cannot_be_built_is_said_with_the_builder_s_words() -> None:
    need_engine()
    done = deploy("apply", "compose", "--port", "39999", BASE_IMAGE="invalid.invalid/none:1")
    assert done.returncode == 1
    assert "the images cannot be built" in done.stderr
    assert "BASE_IMAGE names another base image" in done.stderr
