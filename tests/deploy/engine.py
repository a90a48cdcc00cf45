"""A real Docker engine, our images on it, and containers that end with the test."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.deploy.kubernetes.rendering import ROOT
from tests.support.missing import missing
from tests.support.waiting import wait_for

# As compose.yaml and the Kubernetes objects lock a container; everything has to run like this.
LOCKED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65532:65532")
STAND_IN = "grpc-tracing-base:3.13"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def pause(name: str) -> None:
    """Freezes a container. Cgroup v1's freezer gives up now and then while a health check starts: try again."""

    def frozen() -> bool:
        return subprocess.run(["docker", "pause", name], capture_output=True, check=False).returncode == 0

    wait_for(frozen, f"{name} is paused")


def need_engine() -> None:
    """.ci/docker gives CI one."""
    if not shutil.which("docker"):
        missing("docker is not installed")
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"no Docker engine answers: {done.stderr.strip()}")


def base_image() -> str:
    """What the images stand on: BASE_IMAGE, else the stand-in that .ci/docker makes, else the Dockerfile's own."""
    if chosen := os.environ.get("BASE_IMAGE"):
        return chosen
    if docker("images", "--quiet", STAND_IN):
        return STAND_IN
    named = re.search(r"^ARG BASE_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert named
    return named[1]


@dataclass(frozen=True)
class Images:
    base: str
    service: str
    mesh: str


@contextmanager
def images() -> Iterator[Images]:
    """Both targets of the Dockerfile under names of this test run's own, which go again at its end."""
    built = Images(base_image(), f"grpc-tracing-test-{os.getpid()}", f"grpc-tracing-test-{os.getpid()}-mesh")
    try:
        build(built.base, built.service)  # no target: the default has to be the service
        build(built.base, built.mesh, "--target", "mesh")
        yield built
    finally:
        for name in (built.service, built.mesh):
            subprocess.run(["docker", "rmi", "--force", "--no-prune", name], capture_output=True, check=False)


def build(base: str, tag: str, *more: str) -> None:
    command = ["docker", "build", "--build-arg", f"BASE_IMAGE={base}", "--tag", tag, *more, str(ROOT)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"DOCKER_BUILDKIT": "1"}
    )
    assert done.returncode == 0, done.stderr


def plain(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Container:
    identity: str

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", self.identity))[0]
        return found

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.identity], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def port(self, inside: int) -> int:
        return int(docker("port", self.identity, str(inside)).splitlines()[0].rpartition(":")[2])

    def processes(self) -> list[str]:
        """Every process in it, by its command line."""
        return [line.split(None, 1)[1] for line in docker("top", self.identity, "-eo", "pid,args").splitlines()[1:]]

    def status(self) -> dict[str, str]:
        """Of the first process, as the kernel sees it from inside: user, capabilities, seccomp, signals."""
        text = docker("exec", self.identity, "python", "-c", "print(open('/proc/1/status').read())")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@contextmanager
def container(image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[Container]:
    """A locked container that is removed at the end, running or not."""
    identity = docker("run", "--detach", *LOCKED, *options, image, *arguments)
    try:
        yield Container(identity)
    finally:
        docker("rm", "--force", "--volumes", identity)
