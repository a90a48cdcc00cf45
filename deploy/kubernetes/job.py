"""The requester as a Job in the cluster: its log is the verdict."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence

import yaml

from chain import topology
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.steps import DeployError, names_target, say

NAMESPACE = topology.NAMESPACE
_CLIENT = "grpc-client"
_ENDS_WITHIN = 300
"""Seconds."""


def run(place: str, data: Kubectl, gateway: Gateway, requester: Sequence[str], *, with_store: bool) -> int:
    """The requester's exit code. The Job is deleted in the end, with its pod."""
    client = next(iter(data.find("deployments", _CLIENT, namespace=NAMESPACE)), None)
    if client is None:
        raise DeployError(f"no Deployment {_CLIENT} in {NAMESPACE}, whose image the Job would run: ./apply.sh {place}")
    name = f"{_CLIENT}-{uuid.uuid4().hex[:8]}"
    target = [] if names_target(list(requester)) else ["--target", _target(gateway, data)]
    store = _store() if with_store else []
    say(place, f"calling {' '.join(target[1:]) or 'the target named'} from the Job {name}")
    found = _job(name, client, ["--rpc", "all", *target, *store, *requester])
    data.must("create", "--filename", "-", given=yaml.safe_dump(found))
    try:
        code, log = _ended(data, name)
    finally:
        data("delete", "job", name, "--namespace", NAMESPACE, "--wait=false")
    _show(log, as_json="--json" in requester)
    return code


def _show(log: str, *, as_json: bool) -> None:
    """Both of the container's streams come as one: of a document's reader the rest is kept away."""
    for line in log.splitlines(keepends=True):
        (sys.stderr if as_json and not line.startswith("{") else sys.stdout).write(line)


def _target(gateway: Gateway, data: Kubectl) -> str:
    """The gateway's Service where it opens our port, else svc1 itself."""
    try:
        service = gateway.service(data)
    except DeployError:
        service = None
    if service and gateway.opens_our_port(service):
        return f"{service['metadata']['name']}.{gateway.namespace}:{topology.INGRESS_PORT}"
    return f"{topology.host(topology.DEFAULT.first)}:{topology.SERVICE_PORT}"


def _store() -> list[str]:
    pages, otlp = (f"http://traces:{port}" for port in (topology.PAGES_PORT, topology.OTLP_HTTP_PORT))
    return ["--traces", pages, "--otlp", otlp]


def _job(name: str, client: Object, arguments: list[str]) -> Object:
    """The client's own pod, which calls once and ends."""
    pod = client["spec"]["template"]
    container = pod["spec"]["containers"][0] | {"command": ["python", "-m", "client", "call", *arguments]}
    # Without the sidecar's start awaited the first call would find no way out.
    annotations = {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true\n"}
    spec = pod["spec"] | {"containers": [container], "restartPolicy": "Never"}
    template = {"metadata": {"labels": pod["metadata"]["labels"], "annotations": annotations}, "spec": spec}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": client["metadata"].get("labels", {})}
    job = {"backoffLimit": 0, "ttlSecondsAfterFinished": 600, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}


def _ended(data: Kubectl, name: str) -> tuple[int, str]:
    """Exit code and log of the container. The Job itself may never end, for want of a native sidecar's end."""
    deadline = time.monotonic() + _ENDS_WITHIN
    while time.monotonic() < deadline:
        for pod in data.find("pods", "--selector", f"job-name={name}", namespace=NAMESPACE):
            if (code := _exit_code(pod)) is not None:
                log = data.must("logs", pod["metadata"]["name"], "--namespace", NAMESPACE, "--container", "client")
                return code, log
        time.sleep(0.5)
    look = data.shown("describe", f"job/{name}", "--namespace", NAMESPACE)
    raise DeployError(f"the Job {name} did not end within {_ENDS_WITHIN} s: {look}")


def _exit_code(pod: Object) -> int | None:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    ended = (one["state"]["terminated"] for one in statuses if one["name"] == "client" and "terminated" in one["state"])
    return next((int(one["exitCode"]) for one in ended), None)
