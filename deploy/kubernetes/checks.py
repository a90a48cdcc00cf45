"""What has to hold before anything is changed: each check says that it holds, or what to do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from chain import topology
from deploy.kubernetes import manifests, sampling, tracing
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Access, Kubectl, Object
from deploy.steps import DeployError

NAMESPACE = topology.NAMESPACE


@dataclass(frozen=True)
class Finding:
    """failed: nothing is deployed. warning: it works, with what the text says."""

    kind: Literal["ok", "warning", "failed"]
    text: str


@dataclass(frozen=True)
class Target:
    """Where the objects go, and which they are. The two servers may be one."""

    place: str
    data: Kubectl
    mesh: Kubectl
    objects: Sequence[Object]
    gateway: Gateway

    def servers(self) -> list[tuple[Kubectl, list[Object]]]:
        """Each server once, with its objects."""
        of_mesh = [found for found in self.objects if manifests.is_the_mesh_s(found)]
        if self.data.same_server(self.mesh):
            return [(self.data, list(self.objects))]
        return [
            (self.data, [found for found in self.objects if not manifests.is_the_mesh_s(found)]),
            (self.mesh, [found for found in self.objects if manifests.is_namespace(found)] + of_mesh),
        ]


def check(target: Target) -> list[Finding]:
    """All findings; where a server does not answer, only that."""
    found = [finding for server, _ in target.servers() for finding in _answers(server)]
    if any(finding.kind == "failed" for finding in found):
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
    variable = "MESH_KUBECONFIG" if server.name == "the mesh" else "KUBECONFIG"
    yield Finding(
        "failed", f"{server.name} does not answer ({server.why_silent()}): see {variable}, and whether its API is open"
    )


def _served(target: Target) -> Iterator[Finding]:
    """Whether each server knows the kinds that it is to get."""
    for server, objects in target.servers():
        served = server.api_versions()
        missing = list(_not_served(server, objects, served))
        if not missing:
            yield Finding("ok", f"{server.name} serves every kind of object")
        for what, version in missing:
            yield Finding("failed", f"{server.name} does not serve {what}: {_advice(version, served)}")


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
        return f"it has {', '.join(others)}, so give --overlay older-api"
    if group.endswith(".istio.io"):
        return "is this the mesh's API server? Name its kubeconfig in MESH_KUBECONFIG, or install Istio"
    if group == "gateway.networking.k8s.io":
        return "install the Gateway API's definitions, 1.1 or later, or give another --overlay"
    return "it needs Kubernetes 1.28 or later"


def _permissions(target: Target) -> Iterator[Finding]:
    """Server-side apply creates and patches."""
    for server, objects in target.servers():
        resources = sorted({one for found in objects if (one := manifests.resource(found))})
        asked = [Access(verb, *one, NAMESPACE) for one in resources for verb in ("create", "patch")]
        if not server.find("namespace", NAMESPACE):
            asked.append(Access("create", "namespaces", "", ""))
        denied = [one for one, may in zip(asked, server.may(asked), strict=True) if not may]
        if denied:
            what = ", ".join(f"{one.verb} {one.resource}" for one in denied)
            yield Finding("failed", f"{server.name} does not let you {what} in {NAMESPACE}: ask for a role that does")
        else:
            yield Finding("ok", f"{server.name} lets you create and change them in {NAMESPACE}")


def _injection(target: Target) -> Iterator[Finding]:
    """Whether pods of our namespace get a sidecar."""
    for server, _ in target.servers():
        for namespace in server.find("namespace", NAMESPACE):
            if not _injects(namespace["metadata"].get("labels", {})):
                fix = f"kubectl label namespace {NAMESPACE} istio-injection=enabled --overwrite"
                yield Finding("failed", f"sidecar injection is off in {NAMESPACE} at {server.name}: {fix}")
    try:
        hooks = target.data.find("mutatingwebhookconfigurations.admissionregistration.k8s.io")
    except DeployError:
        yield Finding("warning", "whether the cluster has a sidecar injector could not be seen: no right to look")
        return
    if any(_is_injector(hook) for hook in hooks):
        yield Finding("ok", "the cluster has a sidecar injector")
    else:
        yield Finding("failed", "the cluster has no sidecar injector: add it to the mesh (ASM), or install Istio in it")


def _injects(labels: dict[str, str]) -> bool:
    if "istio-injection" in labels:
        return labels["istio-injection"] == "enabled"
    return "istio.io/rev" in labels


def _is_injector(hook: Object) -> bool:
    names = [hook["metadata"]["name"], *(one["name"] for one in hook.get("webhooks", []))]
    return any("sidecar-injector" in name for name in names)


def _way_in(target: Target) -> Iterator[Finding]:
    """Whether the ingress gateway is there, and lets calls in at our port."""
    if target.gateway.is_ours:
        return
    try:
        service = target.gateway.service(target.data)
    except DeployError:
        where = target.gateway.namespace
        yield Finding("warning", f"the ingress gateway could not be seen: no right to look at Services in {where}")
        return
    if service is None:
        yield Finding("failed", target.gateway.missing())
    elif target.gateway.opens_our_port(service):
        yield Finding("ok", f"the ingress gateway opens port {topology.INGRESS_PORT}")
    else:
        yield Finding("warning", target.gateway.closed(service))


def _tracing(target: Target) -> Iterator[Finding]:
    """Whether the ingress gateway and svc1 trace, once our objects are there, and how many of the calls."""
    try:
        seen = tracing.look(
            target.data,
            target.mesh,
            (NAMESPACE, target.gateway.namespace),
            tracing.revision_of(target.data, NAMESPACE),
        )
    except DeployError as error:
        yield Finding("warning", f"who traces could not be seen: {str(error).splitlines()[0]}")
        return
    objects, changed = tracing.fitted(target.objects, seen)
    if changed:
        yield Finding("ok", changed)
    planned = tracing.with_planned(seen, objects)
    yield of_the_gateway(target, planned)
    ours = sampling.tracing(tracing.SVC1, "in", planned.telemetries, planned.mesh)
    if ours.state == "off" or ours.percentage == 0:
        yield Finding("warning", f"the sidecars of {NAMESPACE} make no spans: {ours.why}")


def of_the_gateway(target: Target, seen: tracing.Seen) -> Finding:
    """What the gateway, which decides for the whole chain, does with these objects."""
    where = target.gateway.namespace
    found = sampling.tracing(tracing.ingress(target.gateway), "out", seen.telemetries, seen.mesh)
    if found.state == "unknown":
        return Finding("warning", _half_seen(found, seen, asm=target.gateway.asm))
    if found.percentage == 0 or "disableSpanReporting" in found.why:
        apply = tracing.indented(tracing.telemetry(where, called=tracing.wide(seen, where)))
        return Finding(
            "failed", f"the ingress gateway samples 0 %, so no call would have a trace ({found.why}): apply\n{apply}"
        )
    if not found.makes_spans:
        return Finding("warning", f"nothing is traced, {found.why}: {tracing.advice(seen, where)}")
    if found.percentage is None:
        return Finding("warning", f"what the ingress gateway samples is not known: {found.why}")
    if found.percentage < 100:
        provider = found.provider or "" if found.state == "traced" else ""
        apply = tracing.indented(tracing.telemetry(where, provider, tracing.wide(seen, where)))
        return Finding("warning", _sampled_in_part(found, apply))
    return Finding("ok", f"the ingress gateway samples every call, to {found.provider}")


def _sampled_in_part(found: sampling.Tracing, apply: str) -> str:
    text = f"the ingress gateway samples {found.percentage:g} % of the calls ({found.why}): for all, "
    if found.state == "bootstrap":  # a Telemetry without a provider would turn it off
        return f"{text}set defaultConfig.tracing.sampling: 100 in the mesh's configuration and restart the gateway"
    return f"{text}apply\n{apply}"


def _half_seen(found: sampling.Tracing, seen: tracing.Seen, *, asm: bool) -> str:
    hidden = (
        f"{' and '.join(seen.hidden)} could not be read{', see the tracing settings in the console' if asm else ''}"
    )
    if found.percentage is None:
        return f"what the ingress gateway samples is not known: {hidden}"
    return f"the ingress gateway samples {found.percentage:g} %; whether spans leave it is not known: {hidden}"


_CHECKS: tuple[Callable[[Target], Iterator[Finding]], ...] = (
    _served,
    _permissions,
    _injection,
    _way_in,
    _tracing,
)
