"""compose.yaml brought up as a project of this test run's own, on free ports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.compose.place import ITS_OWN
from tests.deploy.engine import Container, Images, docker
from tests.deploy.kubernetes.rendering import ROOT
from tests.support.ports import free_ports

OPTIONS = ("--port", "--pages-port", "--otlp-grpc-port", "--otlp-http-port")


@dataclass(frozen=True)
class Project:
    name: str
    environment: dict[str, str]
    options: tuple[str, ...]

    def apply(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._deploy("apply", "compose", *arguments)

    def up(self) -> subprocess.CompletedProcess[str]:
        done = self.apply("up", *self.options)
        assert done.returncode == 0, done.stderr
        return done

    def test(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The requester's exit code and what it says, which is nothing where nothing answers (code 2)."""
        done = self._deploy("test", "compose", "--json", *arguments)
        assert done.returncode in (0, 1, 2), done.stderr
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return done.returncode, found

    def _deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def container(self, service: str) -> Container:
        return Container(f"{self.name}-{service}-1")

    def services(self) -> list[str]:
        """Those that have a container, running or not."""
        names = docker("ps", "--all", *ITS_OWN, "--filter", self._label, "--format", "{{.Names}}").splitlines()
        return sorted(name.removeprefix(f"{self.name}-").removesuffix("-1") for name in names)

    def left(self) -> dict[str, list[str]]:
        """What the engine still has of the project, by kind."""
        kinds = {"container": ("ps", "--all", *ITS_OWN), "network": ("network", "ls"), "volume": ("volume", "ls")}
        return {kind: docker(*command, "--quiet", "--filter", self._label).split() for kind, command in kinds.items()}

    @property
    def _label(self) -> str:
        return f"label=com.docker.compose.project={self.name}"


@contextmanager
def project(images: Images) -> Iterator[Project]:
    """Not up yet; down at the end in any case."""
    name = f"grpc-tracing-test-{os.getpid()}-{time.monotonic_ns()}"
    ports = [text for pair in zip(OPTIONS, map(str, free_ports(4)), strict=True) for text in pair]
    environment = os.environ | {
        "COMPOSE_PROJECT_NAME": name,
        "BASE_IMAGE": images.base,
        "TALK_IMAGE": images.service,
        "MESH_IMAGE": images.mesh,
    }
    made = Project(name, environment, tuple(ports))
    try:
        yield made
    finally:
        made.apply("down")
