"""Whether pods of our namespace get a sidecar."""

from collections.abc import Iterator

from chain import topology
from deploy.kubernetes import manifests
from deploy.kubernetes.findings import Finding, Target
from deploy.kubernetes.kubectl import Forbidden, Kubectl, Object
from deploy.steps import DeployError

NAMESPACE = topology.NAMESPACE


def injection(target: Target) -> Iterator[Finding]:
    """Whether the namespace asks for it, and whether somebody answers."""
    if manifests.is_ambient(target.objects):
        yield from _ambient(target.data)
        return
    for server, _ in target.servers():
        yield from _asked_for(server)
    try:
        hooks = target.data.find("mutatingwebhookconfigurations.admissionregistration.k8s.io")
    except DeployError:
        yield Finding("warning", "whether the cluster has a sidecar injector could not be seen: no right to look")
        return
    injectors = [webhook for hook in hooks for webhook in _injectors(hook)]
    if not injectors:
        yield Finding("failed", "the cluster has no sidecar injector: add it to the mesh (ASM), or install Istio in it")
    elif dead := next((text for one in injectors if (text := _why_dead(one, target.data))), ""):
        yield Finding("failed", dead)
    else:
        yield Finding("ok", "the cluster has a sidecar injector")


_AMBIENT = (
    (("gatewayclasses.gateway.networking.k8s.io", "istio-waypoint"), "", "GatewayClass istio-waypoint"),
    (("daemonsets.apps", "ztunnel"), "istio-system", "DaemonSet ztunnel"),
)
"""What ambient mode needs of the cluster: name, namespace, and in words."""


def _ambient(data: Kubectl) -> Iterator[Finding]:
    """Whether ztunnel and waypoints are there, and whether the namespace is theirs."""
    try:
        missing = [said for what, where, said in _AMBIENT if not data.find(*what, namespace=where)]
        namespace = data.namespace(NAMESPACE)
    except Forbidden:
        yield Finding("warning", "whether the cluster runs in ambient mode could not be seen: no right to look")
        return
    except DeployError:
        missing, namespace = ["GatewayClass istio-waypoint"], None
    if missing:
        text = f"the cluster has no {' and no '.join(missing)}: install Istio with its profile ambient"
        yield Finding("failed", text)
    elif namespace and namespace["metadata"].get("labels", {}).get(manifests.DATAPLANE_MODE) != "ambient":
        fix = data.shown("label", "namespace", NAMESPACE, f"{manifests.DATAPLANE_MODE}=ambient", "--overwrite")
        yield Finding("failed", f"{NAMESPACE} is not in ambient mode: {fix}")
    else:
        yield Finding("ok", "the cluster runs in ambient mode")


def _asked_for(server: Kubectl) -> Iterator[Finding]:
    try:
        namespace = server.namespace(NAMESPACE)
    except Forbidden:
        text = f"whether {NAMESPACE} at {server.name} asks for sidecars is not known: no right to get the namespace"
        yield Finding("warning", text)
        return
    if namespace and not _injects(namespace["metadata"].get("labels", {})):
        fix = server.shown("label", "namespace", NAMESPACE, "istio-injection=enabled", "--overwrite")
        yield Finding("failed", f"sidecar injection is off in {NAMESPACE} at {server.name}: {fix}")


def _injects(labels: dict[str, str]) -> bool:
    if "istio-injection" in labels:
        return labels["istio-injection"] == "enabled"
    return "istio.io/rev" in labels


def _injectors(hook: Object) -> list[Object]:
    webhooks: list[Object] = hook.get("webhooks", [])
    if "sidecar-injector" in hook["metadata"]["name"]:
        return webhooks
    return [one for one in webhooks if "sidecar-injector" in one["name"]]


def _why_dead(webhook: Object, data: Kubectl) -> str:
    """Empty for one that answers, and for one outside the cluster (`url`), which cannot be seen from here."""
    service = webhook.get("clientConfig", {}).get("service")
    if not service:
        return ""
    where, name = service["namespace"], service["name"]
    try:
        slices = data.find(
            "endpointslices.discovery.k8s.io", "--selector", f"kubernetes.io/service-name={name}", namespace=where
        )
    except DeployError:
        return ""
    if any(_is_ready(one) for found in slices for one in found.get("endpoints") or []):
        return ""
    look = data.shown("get", "pods", "--namespace", where)
    return f"the sidecar injector's Service {where}/{name} has no pod that is ready, so no pod can be made: {look}"


def _is_ready(endpoint: Object) -> bool:
    """Not said counts as ready."""
    return endpoint.get("conditions", {}).get("ready") is not False
