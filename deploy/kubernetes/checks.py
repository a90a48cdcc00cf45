"""What has to hold before anything is changed: each check says that it holds, or what to do."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from chain import topology
from deploy.kubernetes import manifests
from deploy.kubernetes.findings import Finding, Target
from deploy.kubernetes.kubectl import Access, Forbidden, Kubectl, Object
from deploy.kubernetes.sidecars import injection
from deploy.kubernetes.tracing_check import who_traces
from deploy.kubernetes.way_in import way_in
from deploy.steps import DeployError

NAMESPACE = topology.NAMESPACE


def check(target: Target) -> list[Finding]:
    """All findings; where a server does not answer, only that."""
    found = [finding for server, _ in target.servers() for finding in _answers(server)]
    if any(finding.kind == "failed" for finding in found):
        return found
    if swapped := _swapped(target):
        return [*found, Finding("failed", swapped)]
    found += _carried_out(_served, target)
    if _without_istio(target):
        return found
    return found + [finding for one in _CHECKS for finding in _carried_out(one, target)]


def _carried_out(one: Callable[[Target], Iterator[Finding]], target: Target) -> Iterator[Finding]:
    """The findings of a check; that a server does not let it look is one too."""
    try:
        yield from one(target)
    except DeployError as error:
        yield Finding("failed", str(error))


def _answers(server: Kubectl) -> Iterator[Finding]:
    version = server.server_version()
    if version:
        yield Finding("ok", f"{server.name} answers ({version}, context {server.context_name() or 'unnamed'})")
        return
    yield Finding("failed", server.silence())


def _swapped(target: Target) -> str:
    """Said of two servers of which the cluster alone has Istio's kinds, and is to get none; else empty."""
    if target.data.same_server(target.mesh):
        return ""
    data, mesh = (_istio_s(one.api_versions()) for one in (target.data, target.mesh))
    if not data or mesh:
        return ""
    names = "KUBECONFIG and MESH_KUBECONFIG" if target.mesh.kubeconfig != target.data.kubeconfig else "the contexts"
    return f"the cluster serves Istio's kinds and the mesh does not, so {names} are swapped: exchange them"


def _without_istio(target: Target) -> bool:
    """Said of a server that is to get Istio's kinds and has none: its gateway and injector are missing as well."""
    return target.data.same_server(target.mesh) and not _istio_s(target.mesh.api_versions())


def _istio_s(versions: set[str]) -> set[str]:
    return {one for one in versions if one.startswith("networking.istio.io/")}


def _served(target: Target) -> Iterator[Finding]:
    """Whether each server knows the kinds that it is to get."""
    for server, objects in target.servers():
        served = server.api_versions()
        missing = list(_not_served(server, objects, served))
        if not missing:
            yield Finding("ok", f"{server.name} serves every kind of object")
        for advice, those in _by_advice(missing, served).items():
            yield Finding("failed", f"{server.name} does not serve {', '.join(those)}: {advice}")


def _by_advice(missing: list[tuple[str, str]], served: set[str]) -> dict[str, list[str]]:
    """The same advice once, for all that it is about."""
    found: dict[str, list[str]] = defaultdict(list)
    for what, version in missing:
        found[_advice(version, served)].append(what)
    return found


def _not_served(server: Kubectl, objects: list[Object], served: set[str]) -> Iterator[tuple[str, str]]:
    """An API version, or a kind that a version which is served does not have yet; each with its version."""
    for version in sorted({found["apiVersion"] for found in objects}):
        if version not in served:
            yield version, version
        elif "." in version:  # the others are Kubernetes' own and come whole
            kinds = {found["kind"] for found in objects if found["apiVersion"] == version}
            yield from ((f"{kind} of {version}", version) for kind in sorted(kinds - server.kinds(version)))


def _advice(version: str, served: set[str]) -> str:
    group = version.partition("/")[0]
    others = sorted(other for other in served - {version} if other.startswith(f"{group}/"))
    if group.endswith(".istio.io") and others:
        return "it has older versions of them, so give --overlay older-api"
    if group.endswith(".istio.io"):
        return "is this the mesh's API server? Name its kubeconfig in MESH_KUBECONFIG, or install Istio"
    if group == "gateway.networking.k8s.io":
        return "install the Gateway API's definitions, 1.1 or later, or give another --overlay"
    return "it needs Kubernetes 1.28 or later"


def _may_exist(server: Kubectl) -> bool:
    """True for a namespace that one may not look at: what goes into it will tell."""
    try:
        return server.namespace(NAMESPACE) is not None
    except Forbidden:
        return True


def _permissions(target: Target) -> Iterator[Finding]:
    """Server-side apply creates and patches."""
    for server, objects in target.servers():
        resources = sorted({one for found in objects if (one := manifests.resource(found))})
        asked = [Access(verb, *one, NAMESPACE) for one in resources for verb in ("create", "patch")]
        if not _may_exist(server):
            asked.append(Access("create", "namespaces", "", ""))
        denied = [one for one, may in zip(asked, server.may(asked), strict=True) if not may]
        if denied:
            what = ", ".join(f"{one.verb} {one.resource}" for one in denied)
            yield Finding("failed", f"{server.name} does not let you {what} in {NAMESPACE}: ask for a role that does")
        else:
            yield Finding("ok", f"{server.name} lets you create and change them in {NAMESPACE}")


_CHECKS: tuple[Callable[[Target], Iterator[Finding]], ...] = (
    _permissions,
    injection,
    way_in,
    who_traces,
)
