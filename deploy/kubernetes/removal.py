"""Taking away what is ours, and nothing else."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from chain import topology
from deploy.kubernetes import manifests
from deploy.kubernetes.kubectl import Access, Kubectl, Object
from deploy.kubernetes.manifests import OURS
from deploy.steps import DeployError, say

NAMESPACE = topology.NAMESPACE
MADE_BY_US = "grpc-tracing/made-by"
"""The annotation of a namespace that apply.sh made: no other is ever deleted."""

_GONE_WITHIN = "--timeout=120s"
"""A finalizer that nobody serves any more would keep kubectl waiting for ever."""

# What Kubernetes and Istio put into any namespace by themselves.
_AUTOMATIC = {
    "configmaps": {"kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl"},
    "serviceaccounts": {"default"},
}
_PASSING = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "pods.metrics.k8s.io"}


def kinds_by_server(data: Kubectl, mesh: Kubectl) -> dict[Kubectl, list[str]]:
    """What of ours each server may hold, in the order in which it goes away."""
    cluster_s, mesh_s = (manifests.full_names(one) for one in (manifests.DATA_RESOURCES, manifests.MESH_RESOURCES))
    return {data: [*cluster_s, *mesh_s]} if data.same_server(mesh) else {data: cluster_s, mesh: mesh_s}


def prune(place: str, server: Kubectl, kinds: Iterable[str], objects: Iterable[Object]) -> None:
    """Deletes what an earlier apply with other components left: a second way in, another version of a service."""
    left, hidden = leftovers(server, kinds, objects)
    for one in left:
        kind = f"{one['kind'].lower()}.{manifests.group(one)}".removesuffix(".")
        server.must("delete", kind, one["metadata"]["name"], "--namespace", NAMESPACE, _GONE_WITHIN)
    if left:
        say(place, f"deleted what the objects given no longer have: {', '.join(sorted(map(_called, left)))}")
    if hidden:
        say(place, f"no right to list {', '.join(hidden)} at {server.name}: what an earlier apply left there stays")


def leftovers(server: Kubectl, kinds: Iterable[str], objects: Iterable[Object]) -> tuple[list[Object], list[str]]:
    """What carries our label and is none of these objects, and the kinds that may not be listed.

    What has an owner goes with it.
    """
    served = server.resources()
    known = {_identity(found) for found in objects}
    found, hidden = _listed(server, [kind for kind in kinds if kind in served])
    return [one for one in found if _identity(one) not in known and not one["metadata"].get("ownerReferences")], hidden


def _listed(server: Kubectl, kinds: list[str]) -> tuple[list[Object], list[str]]:
    """All kinds in one call; one by one where that is refused, so that one kind hides no other."""
    ours = ("--selector", OURS)
    try:
        return (server.find(",".join(kinds), *ours, namespace=NAMESPACE) if kinds else []), []
    except DeployError:
        if len(kinds) == 1:
            return [], kinds
    each = [_listed(server, [kind]) for kind in kinds]
    return [one for found, _ in each for one in found], [kind for _, hidden in each for kind in hidden]


def _identity(found: Object) -> tuple[str, str, str]:
    """The same in all versions of its API."""
    return manifests.group(found), found["kind"], found["metadata"]["name"]


def clear(place: str, server: Kubectl, kinds: Iterable[str]) -> list[str]:
    """Deletes what is ours. What could not be deleted is returned, in words, and keeps nothing else from going."""
    failures: list[str] = []
    with _noted(failures):
        _delete(place, server, kinds, failures)
    with _noted(failures):
        _delete_namespace(place, server)
    return failures


@contextmanager
def _noted(failures: list[str]) -> Iterator[None]:
    try:
        yield
    except DeployError as error:
        failures.append(str(error))


def _delete(place: str, server: Kubectl, kinds: Iterable[str], failures: list[str]) -> None:
    """The objects that carry our label, kind by kind in this order."""
    gone: list[str] = []
    for kind in _to_be_seen(place, server, kinds, failures):
        ours = ("--namespace", NAMESPACE, "--selector", OURS)
        with _noted(failures):
            done = server.must("delete", kind, *ours, "--output", "name", _GONE_WITHIN)
            gone += [line for line in done.splitlines() if "/" in line]  # it also says that there are none
    if gone or not failures:
        count = f"deleted {len(gone)} objects" if gone else "nothing"
        say(place, f"{count} of ours at {server.name}")


def _to_be_seen(place: str, server: Kubectl, kinds: Iterable[str], failures: list[str]) -> list[str]:
    """The kinds that are served and that the user may list; of others some may be left, if the user may make them."""
    served = server.resources()
    kinds = [kind for kind in kinds if kind in served]
    listed = server.may(_access("list", kind) for kind in kinds)
    hidden = [kind for kind, may in zip(kinds, listed, strict=True) if not may]
    created = server.may(_access("create", kind) for kind in hidden)
    for kind, may in zip(hidden, created, strict=True):
        text = f"no right to list {kind} at {server.name}: any of ours stay"
        if may:
            failures.append(text)
        else:
            say(place, text)
    return [kind for kind in kinds if kind not in hidden]


def _access(verb: str, kind: str) -> Access:
    plural, _, group = kind.partition(".")
    return Access(verb, plural, group, NAMESPACE)


def _delete_namespace(place: str, server: Kubectl) -> None:
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
        server.must("delete", "namespace", NAMESPACE, _GONE_WITHIN)
        say(place, f"deleted the namespace {NAMESPACE} at {server.name}")


def _others(server: Kubectl) -> list[str]:
    """What is left in our namespace that neither we nor Kubernetes and Istio put there."""
    # Each API has to answer here: whoever does not could hold something.
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
