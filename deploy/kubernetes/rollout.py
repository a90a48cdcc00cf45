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
_LOOKS_EVERY = 5
"""Seconds between looks at a Deployment that does not get ready."""
_MOUNTS_FAILED = 4


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
    """Looks up every few seconds from kubectl's own waiting: what will not get better is told at once."""
    name = deployment["metadata"]["name"]
    while True:
        left = max(1, math.ceil(deadline - time.monotonic()))  # kubectl takes 0 for ever
        status = ("rollout", "status", f"deployment/{name}", "--namespace", NAMESPACE)
        done = server(*status, f"--timeout={min(left, _LOOKS_EVERY)}s")
        if done.returncode == 0:
            return
        hopeless = _refused(server, name) or _stuck(server, deployment)
        if hopeless or time.monotonic() >= deadline:
            said = hopeless or last_line(done)
            raise DeployError(f"{name} is not ready ({said})\n{_why_not_ready(server, deployment)}")


def _refused(server: Kubectl, name: str) -> str:
    """Why no pod can be made: Pod Security, a quota, a webhook. It stands in the Deployment's condition."""
    found = server.find("deployments", name, namespace=NAMESPACE)
    conditions = found[0].get("status", {}).get("conditions") or [] if found else []
    failing = (one for one in conditions if one["type"] == "ReplicaFailure" and one["status"] == "True")
    return next((f"no pod can be made: {one['message']}" for one in failing), "")


_HOPELESS = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")


def _stuck(server: Kubectl, deployment: Object) -> str:
    """What a container waits for that does not come by itself."""
    for pod in pods_of(server, deployment):
        status = pod.get("status", {})
        for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = one.get("state", {}).get("waiting") or {}
            if waiting.get("reason") in _HOPELESS:
                return f"{one['name']}: {waiting['reason']}, {waiting.get('message', '')}".rstrip(", ")
        if unmounted := _unmounted(server, pod):
            return unmounted
    return ""


def _unmounted(server: Kubectl, pod: Object) -> str:
    """A volume that failed several times: once is usual while the mesh fills a new namespace."""
    found = _events_of(server, pod["metadata"]["name"])
    failing = [one for one in found if one["reason"] == "FailedMount" and one.get("count", 1) >= _MOUNTS_FAILED]
    return "" if is_ready(pod) or not failing else f"FailedMount, {failing[-1]['message']}"


def pods_of(server: Kubectl, deployment: Object) -> list[Object]:
    """Those that its selector matches. Raises DeployError."""
    labels = deployment["spec"].get("selector", {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return server.find("pods", "--selector", selector, namespace=deployment["metadata"]["namespace"])


def _started_for(gateway: Gateway, server: Kubectl, deadline: float) -> Object:
    while (found := gateway.deployment(server)) is None:
        if time.monotonic() > deadline:
            raise DeployError(gateway.missing(server))
        time.sleep(_BETWEEN_LOOKS)
    return found


def _why_not_ready(server: Kubectl, deployment: Object) -> str:
    """The last events and log lines of a pod that is not ready."""
    unready = [pod for pod in pods_of(server, deployment) if not is_ready(pod)]
    if not unready:
        name = deployment["metadata"]["name"]
        return f"  no pod was made: {server.shown('describe', f'deployment/{name}', '--namespace', NAMESPACE)}"
    name = unready[0]["metadata"]["name"]
    lines = [f"pod {name}:", *_events(server, name), *_log(server, name)]
    return "\n".join(f"  {line}" for line in lines)


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _events_of(server: Kubectl, pod: str) -> list[Object]:
    """In order of time."""
    found = server.find("events", "--field-selector", f"involvedObject.name={pod}", namespace=NAMESPACE)
    return sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")


def _events(server: Kubectl, pod: str) -> list[str]:
    found = _events_of(server, pod)
    return [f"event {event['reason']}: {event['message']}" for event in found[-5:]]


def _log(server: Kubectl, pod: str) -> list[str]:
    done = server("logs", pod, "--namespace", NAMESPACE, "--all-containers", "--prefix", "--tail", "5")
    return [f"log {line}" for line in done.stdout.splitlines()]


def check_sidecars(server: Kubectl) -> None:
    """The proof that injection was on when the pods were made."""
    bare = [
        pod["metadata"]["name"]
        for pod in server.find("pods", "--selector", OURS, namespace=NAMESPACE)
        if _should_have_sidecar(pod) and not has_sidecar(pod)
    ]
    if bare:
        raise DeployError(
            f"{bare[0]} has no sidecar: see that the mesh injects into {NAMESPACE},"
            f" then {server.shown('rollout', 'restart', 'deployment', '--namespace', NAMESPACE)}"
        )


def _should_have_sidecar(pod: Object) -> bool:
    """One that is on its way out may be from before injection was on."""
    metadata = pod["metadata"]
    return "deletionTimestamp" not in metadata and metadata["labels"].get("sidecar.istio.io/inject") != "false"


def has_sidecar(pod: Object) -> bool:
    # A native sidecar is an init container that goes on running.
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return any(container["name"] == "istio-proxy" for container in containers)
