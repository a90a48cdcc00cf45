"""Clusters that a stand-in kubectl answers for, and our scripts against them."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import deploy
from tests.deploy.kubernetes import kubectl_stand_in
from tests.deploy.kubernetes.rendering import K8S, ROOT, Object
from tests.support.missing import missing

KUBERNETES = ["v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1", "admissionregistration.k8s.io/v1"]
ISTIO = ["networking.istio.io/v1", "security.istio.io/v1", "telemetry.istio.io/v1"]
OLDER = ["networking.istio.io/v1beta1", "security.istio.io/v1beta1", "telemetry.istio.io/v1alpha1"]
GATEWAY_API = ["gateway.networking.k8s.io/v1"]

IMAGE = ("--image", "registry.example/team/grpc-tracing:1.2")


Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Clusters:
    """The servers by name; a test changes their state before or between runs."""

    folder: Path
    environment: dict[str, str]

    def state(self, name: str = "cluster") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def change(self, name: str = "cluster", **what: Any) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(self.state(name) | what))

    def add(self, name: str, *objects: Object) -> None:
        self.change(name, objects=self.state(name)["objects"] | {_key(found): found for found in objects})

    def objects(self, name: str = "cluster") -> dict[str, Object]:
        found: dict[str, Object] = self.state(name)["objects"]
        return found

    def calls(self) -> list[list[str]]:
        """The server's name and kubectl's arguments, in order."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def forget_calls(self) -> None:
        (self.folder / "calls").unlink(missing_ok=True)

    def changes(self) -> list[list[str]]:
        """The calls that can change something."""
        changing = [call for call in self.calls() if call[1] in ("apply", "create", "delete", "label", "patch")]
        # To ask what one may do, or what would be done, changes nothing.
        return [call for call in changing if call[2] != "--output" and "--dry-run=server" not in call]

    def shell(self, line: str, **environment: str) -> Done:
        """A command as a message prints it."""
        given = self.environment | environment
        return subprocess.run(["/bin/sh", "-c", line], env=given, capture_output=True, text=True, check=False)

    def run(self, action: str, *arguments: str, **environment: str) -> Done:
        """`apply` in this process, and its kubectl too: as programs they take a hundred times as long."""
        if action == "test":
            return self.program(action, *arguments, **environment)
        before = signal.getsignal(signal.SIGTERM)  # which apply takes for itself
        try:
            with (
                mock.patch.dict(os.environ, self.environment | environment, clear=True),
                mock.patch("deploy.kubernetes.kubectl.run", _kubectl),
            ):
                return _said(lambda: deploy.main([action, *arguments]))
        finally:
            signal.signal(signal.SIGTERM, before)

    def program(self, *arguments: str, **environment: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )


def _kubectl(command: list[str], *, given: str | None = None, environment: Mapping[str, str]) -> Done:
    if "kustomize" in command:
        folder = command[-1]
        return _kustomize(folder) if Path(folder).is_relative_to(K8S) else _kustomize.__wrapped__(folder)
    with mock.patch("sys.stdin", io.StringIO(given or "")):
        return _said(lambda: kubectl_stand_in.main(command[1:], environment))


@cache
def _kustomize(folder: str) -> Done:
    """The real one; what is in the repository stays as it is while tests run."""
    return subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)


def _said(work: Callable[[], int | None]) -> Done:
    """What it writes, as a program's."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            code = work() or 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Done([], code, out.getvalue(), errors.getvalue())


def make(folder: Path) -> Clusters:
    """A cluster with plain Istio, and a `kubectl` on PATH that reaches it alone."""
    real = shutil.which("kubectl")
    if not real:
        missing("kubectl is not installed")
    programs = folder / "bin"
    programs.mkdir()
    kubectl = programs / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I -S "{Path(__file__).with_name("kubectl_stand_in.py")}" "$@"\n'
    )
    kubectl.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "MESH_KUBECONFIG")}
    environment = kept | {"PATH": f"{programs}:{os.environ['PATH']}", "STAND_IN": str(folder), "REAL_KUBECTL": real}
    clusters = Clusters(folder, environment)
    server(clusters, "cluster", KUBERNETES + ISTIO)
    clusters.add("cluster", *PLAIN_ISTIO)
    return clusters


def server(clusters: Clusters, name: str, api_versions: list[str]) -> None:
    state = {
        "name": name,
        "answers": True,
        "version": "v1.32.1",
        "api_versions": api_versions,
        "objects": {},
        "revision": 100,
        "denied": [],
        "forbidden": [],
        "conflicts": [],
        "refused": [],
        "not_ready": [],
        "stuck": [],
        "controls": True,
        "refuses_pods": "",
        "lacks": [],
        "broken_api": False,
        "rollout_takes": 0,
        "injects": True,
        "logs": {},
        "forwards": {},
    }
    (clusters.folder / f"{name}.json").write_text(json.dumps(state))
    clusters.add(name, *(namespace(one) for one in ("default", "istio-system")))


def make_asm(clusters: Clusters) -> dict[str, str]:
    """Two servers, as ASM has them; the variables that name them."""
    server(clusters, "ack", KUBERNETES)
    clusters.add("ack", *PLAIN_ISTIO[:3])
    server(clusters, "instance", ["v1", *ISTIO])
    clusters.add("instance", telemetry(100))
    return {"KUBECONFIG": "ack", "MESH_KUBECONFIG": "instance"}


def _key(found: Object) -> str:
    group = found["apiVersion"].rpartition("/")[0]
    kind = f"{found['kind'].lower()}.{group}".removesuffix(".")
    return f"{kind}/{found['metadata']['name']} {found['metadata'].get('namespace', '')}"


def an_object(api_version: str, kind: str, name: str, where: str = "", **more: Any) -> Object:
    metadata = {"name": name, **({"namespace": where} if where else {}), **more.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def namespace(name: str, **metadata: Any) -> Object:
    return an_object("v1", "Namespace", name, metadata=metadata)


def ingress_service(ports: list[int], **balancer: str) -> Object:
    spec = {"selector": {"istio": "ingressgateway"}, "ports": [{"port": port} for port in ports]}
    status = {"loadBalancer": {"ingress": [balancer] if balancer else []}}
    return an_object("v1", "Service", "istio-ingressgateway", "istio-system", spec=spec, status=status)


def telemetry(percentage: float, **spec: Any) -> Object:
    tracing = {"tracing": [{"randomSamplingPercentage": percentage}]}
    return an_object("telemetry.istio.io/v1", "Telemetry", "mesh-default", "istio-system", spec=tracing | spec)


def mesh_config(text: str) -> Object:
    return an_object("v1", "ConfigMap", "istio", "istio-system", data={"mesh": text})


PROVIDER = """\
defaultProviders: {tracing: [otel]}
extensionProviders: [{name: otel, opentelemetry: {service: collector.observability.svc.cluster.local, port: 4317}}]
"""
_ISTIOD = {"template": {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [{"name": "discovery"}]}}}
_GATEWAY_PODS = {
    "template": {"metadata": {"labels": {"istio": "ingressgateway"}}, "spec": {"containers": [{"name": "istio-proxy"}]}}
}

PLAIN_ISTIO = (
    an_object(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "istio-sidecar-injector",
        webhooks=[{"name": "namespace.sidecar-injector.istio.io"}],
    ),
    ingress_service([15021, 80, 443, 9999], ip="203.0.113.7"),
    an_object("apps/v1", "Deployment", "istio-ingressgateway", "istio-system", spec=_GATEWAY_PODS),
    mesh_config(PROVIDER),
    an_object("apps/v1", "Deployment", "istiod", "istio-system", spec=_ISTIOD),
    telemetry(100),
    an_object("v1", "Service", "collector", "observability", spec={"ports": [{"port": 4317}]}),
)
