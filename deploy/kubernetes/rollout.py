"""Waiting until the pods are as they should be, and what to show where they are not."""

import math
import time

from chain import topology
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.kubernetes.manifests import OURS
from deploy.steps import DeployError, last_line, say

NAMESPACE = topology.NAMESPACE

_BETWEEN_LOOKS = 0.5


def wait(place: str, server: Kubectl, deployments: list[Object], gateway: Gateway, timeout: int) -> None:
    """Also for the gateway where the mesh starts one for us; timeout: seconds for all.

    DeployError with a pod's last events and log lines where they do not get ready.
    """
    say(place, f"waiting until the pods of {len(deployments)} Deployments are ready, {timeout} s at most")
    deadline = time.monotonic() + timeout
    for deployment in deployments:
        _wait_for_pods(server, deployment, deadline)
    if gateway.is_ours:
        _wait_for_pods(server, _started_for(gateway, server, deadline), deadline)


def _wait_for_pods(server: Kubectl, deployment: Object, deadline: float) -> None:
    name = deployment["metadata"]["name"]
    left = max(1, math.ceil(deadline - time.monotonic()))  # kubectl takes 0 for ever
    done = server("rollout", "status", f"deployment/{name}", "--namespace", NAMESPACE, f"--timeout={left}s")
    if done.returncode != 0:
        raise DeployError(f"{name} is not ready ({last_line(done)})\n{_why_not_ready(server, deployment)}")


def _started_for(gateway: Gateway, server: Kubectl, deadline: float) -> Object:
    while (found := gateway.deployment(server)) is None:
        if time.monotonic() > deadline:
            raise DeployError(gateway.missing())
        time.sleep(_BETWEEN_LOOKS)
    return found


def _why_not_ready(server: Kubectl, deployment: Object) -> str:
    """The last events and log lines of a pod that is not ready."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = server.find("pods", "--selector", selector, namespace=NAMESPACE)
    unready = [pod for pod in pods if not _is_ready(pod)]
    if not unready:
        return f"  no pod was made: kubectl describe replicaset -n {NAMESPACE} -l {selector}"
    name = unready[0]["metadata"]["name"]
    lines = [f"pod {name}:", *_events(server, name), *_log(server, name)]
    return "\n".join(f"  {line}" for line in lines)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _events(server: Kubectl, pod: str) -> list[str]:
    found = server.find("events", "--field-selector", f"involvedObject.name={pod}", namespace=NAMESPACE)
    found.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return [f"event {event['reason']}: {event['message']}" for event in found[-5:]]


def _log(server: Kubectl, pod: str) -> list[str]:
    done = server("logs", pod, "--namespace", NAMESPACE, "--all-containers", "--prefix", "--tail", "5")
    return [f"log {line}" for line in done.stdout.splitlines()]


def check_sidecars(server: Kubectl) -> None:
    """The proof that injection was on when the pods were made."""
    bare = [
        pod["metadata"]["name"]
        for pod in server.find("pods", "--selector", OURS, namespace=NAMESPACE)
        if _should_have_sidecar(pod) and not _has_sidecar(pod)
    ]
    if bare:
        raise DeployError(
            f"{bare[0]} has no sidecar: see that the mesh injects into {NAMESPACE},"
            f" then kubectl rollout restart deployment -n {NAMESPACE}"
        )


def _should_have_sidecar(pod: Object) -> bool:
    """One that is on its way out may be from before injection was on."""
    metadata = pod["metadata"]
    return "deletionTimestamp" not in metadata and metadata["labels"].get("sidecar.istio.io/inject") != "false"


def _has_sidecar(pod: Object) -> bool:
    # A native sidecar is an init container that goes on running.
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return any(container["name"] == "istio-proxy" for container in containers)
