"""A cluster that really runs: kubectl, our scripts against it, and what its proxies have been told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.rendering import ROOT, Object

NAMESPACE, MESH_NAMESPACE = "grpc-tracing", "istio-system"
GATEWAY_POD = (MESH_NAMESPACE, "deploy/istio-ingressgateway")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """image, mesh_image: as the cluster can pull them."""

    image: str
    mesh_image: str

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        done = self.try_kubectl(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_kubectl(self, *arguments: str, given: str | None = None) -> Done:
        command = ["kubectl", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120)

    def apply(self, *objects: Object) -> None:
        if objects:
            self.kubectl("apply", "--filename", "-", given=yaml.safe_dump_all(objects))

    def up(self, *options: str, place: str = "k8s") -> Done:
        images = ("--image", self.image, "--mesh-image", self.mesh_image)
        return self.run("apply", place, *images, *options)

    def test(self, *options: str, place: str = "k8s") -> Done:
        return self.run("test", place, *options)

    def verdict(self, *options: str) -> dict[str, Any]:
        """The requester's document."""
        done = self.test("--json", *options)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def run(self, *arguments: str) -> Done:
        command = [sys.executable, "-m", "deploy", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    def shell(self, line: str) -> Done:
        """A line as a message prints it."""
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=120)

    def restart(self, namespace: str, *workloads: str) -> None:
        for verb in (("rollout", "restart"), ("rollout", "status", "--timeout=120s")):
            for one in workloads:
                self.kubectl(*verb[:2], one, "--namespace", namespace, *verb[2:])

    def newest(self, where: str, workload: str) -> str:
        """The name of a workload's newest pod: one on its way out knows what it was told before."""
        labels = json.loads(self.kubectl("get", workload, "--namespace", where, "--output", "json"))["spec"]["selector"]
        selector = ",".join(f"{key}={value}" for key, value in labels["matchLabels"].items())
        text = self.kubectl("get", "pods", "--namespace", where, "--selector", selector, "--output", "json")
        pods = [one["metadata"] for one in json.loads(text)["items"] if "deletionTimestamp" not in one["metadata"]]
        name: str = max(pods, key=lambda one: one["creationTimestamp"])["name"]
        return name

    def told(self, pod: tuple[str, str]) -> Sequence[Object]:
        """The listeners that a workload's proxy has."""
        where, workload = pod
        request = ("pilot-agent", "request", "GET", "config_dump?resource=dynamic_listeners")
        newest = self.newest(where, workload)
        text = self.kubectl("exec", "--namespace", where, newest, "--container", "istio-proxy", "--", *request)
        found: list[Object] = json.loads(text).get("configs", [])
        return found


def connect() -> Cluster:
    """Skips by name where there is none."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: KUBECONFIG names one whose namespace grpc-tracing the tests may use")
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    images = [os.environ.get(f"TALK_CLUSTER_{one}") for one in ("IMAGE", "MESH_IMAGE")]
    if not all(images):
        pytest.skip("no images: TALK_CLUSTER_IMAGE and TALK_CLUSTER_MESH_IMAGE name both as the cluster can pull them")
    found = Cluster(*map(str, images))
    if (done := found.try_kubectl("version", "--request-timeout=10s")).returncode != 0:
        pytest.skip(f"the cluster that KUBECONFIG names does not answer: {done.stderr.strip()}")
    return found


def changes_the_mesh() -> None:
    if not os.environ.get("TALK_CLUSTER_MESH"):
        pytest.skip("the mesh is somebody's: TALK_CLUSTER_MESH=ours lets the tests change its own configuration")
