"""Taking away what is ours, and nothing else."""

from collections.abc import Iterable

from deploy.kubectl import Kubectl, Object
from deploy.manifests import OURS
from deploy.steps import DeployError, say
from mesh import topology

NAMESPACE = topology.NAMESPACE
MADE_BY_US = "grpc-tracing/made-by"
"""The annotation of a namespace that apply.sh made: no other is ever deleted."""

# What Kubernetes and Istio put into any namespace by themselves.
_AUTOMATIC = {
    "configmaps": {"kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl"},
    "serviceaccounts": {"default"},
}
_PASSING = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "pods.metrics.k8s.io"}


def delete(place: str, server: Kubectl, kinds: Iterable[str]) -> None:
    """The objects that carry our label, kind by kind in this order."""
    served = set(server.must("api-resources", "--output", "name", "--no-headers").split())
    gone = []
    for kind in kinds:
        if kind in served:
            done = server.must("delete", kind, "--namespace", NAMESPACE, "--selector", OURS, "--output", "name")
            gone += [line for line in done.splitlines() if "/" in line]  # it also says that there are none
    say(place, f"deleted {len(gone)} objects of ours at {server.name}" if gone else f"nothing of ours at {server.name}")


def delete_namespace(place: str, server: Kubectl) -> None:
    """Only one that apply.sh made, and only when nothing of anybody else's has moved in."""
    for namespace in server.find("namespace", NAMESPACE):
        if MADE_BY_US not in namespace["metadata"].get("annotations", {}):
            say(place, f"the namespace {NAMESPACE} stays at {server.name}: apply.sh did not make it")
            return
        try:
            others = _others(server)
        except DeployError as error:
            say(place, f"the namespace {NAMESPACE} stays: whether it is empty could not be seen ({error})")
            return
        if others:
            say(place, f"the namespace {NAMESPACE} stays at {server.name}: it holds {', '.join(others)}")
            return
        server.must("delete", "namespace", NAMESPACE)
        say(place, f"deleted the namespace {NAMESPACE} at {server.name}")


def _others(server: Kubectl) -> list[str]:
    """What is left in our namespace that neither we nor Kubernetes and Istio put there."""
    listed = server.must("api-resources", "--namespaced", "--verbs", "list", "--output", "name", "--no-headers")
    kinds = sorted(set(listed.split()) - _PASSING)
    found = server.find(",".join(kinds), namespace=NAMESPACE)
    return sorted({_called(one) for one in found if not _is_automatic(one)})


def _called(found: Object) -> str:
    return f"{found['kind'].lower()}/{found['metadata']['name']}"


def _is_automatic(found: Object) -> bool:
    has_owner = bool(found["metadata"].get("ownerReferences"))  # it goes with its owner, which is in the list itself
    token = found.get("type") == "kubernetes.io/service-account-token"
    return has_owner or token or found["metadata"]["name"] in _AUTOMATIC.get(f"{found['kind'].lower()}s", set())
