"""Who traces on this cluster: reads what istiod reads, says what comes of it, and fits our own Telemetry to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from chain import topology
from deploy.kubernetes import manifests
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.kubernetes.sampling import (
    ISTIO_S_DEFAULT,
    ROOT_NAMESPACE,
    Direction,
    Mesh,
    Tracing,
    Workload,
    applicable,
    tracing,
)
from deploy.steps import DeployError

TELEMETRIES = "telemetries.telemetry.istio.io"
_REVISION = "istio.io/rev"
_MESH_DEFAULT = "mesh-default"
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server says of tracing. hidden: what may not be read, in words."""

    telemetries: Sequence[Object]
    mesh: Mesh
    hidden: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One direction of one workload, for the table."""

    workload: str
    direction: Direction
    tracing: Tracing


def look(data: Kubectl, mesh: Kubectl, namespaces: Iterable[str], revision: str = "") -> Seen:
    """namespaces: of the workloads; the root namespace is looked at as well.

    DeployError where the Telemetries may not be read: then nothing can be said.
    """
    if not any(version.startswith("telemetry.istio.io/") for version in mesh.api_versions()):
        raise DeployError(f"{mesh.name} serves no Telemetry: is it the mesh's API server, and is Istio installed?")
    hidden: list[str] = []
    config = _mesh_config(data, mesh, revision, hidden)
    found = Mesh(config, _pilot_sampling(data, revision, hidden))
    telemetries = [
        one
        for namespace in sorted({found.root_namespace, *namespaces})
        for one in mesh.find(TELEMETRIES, namespace=namespace)
    ]
    return Seen(telemetries, found, hidden)


def revision_of(data: Kubectl, namespace: str) -> str:
    """The istiod that serves a namespace; empty for the default one, and where the namespace may not be seen."""
    try:
        found = data.find("namespace", namespace)
    except DeployError:
        return ""
    labels = found[0]["metadata"].get("labels", {}) if found else {}
    revision = "" if "istio-injection" in labels else str(labels.get(_REVISION, ""))
    return "" if revision == "default" else revision


def _mesh_config(data: Kubectl, mesh: Kubectl, revision: str, hidden: list[str]) -> Mapping[str, Any] | None:
    name = _revised("istio", revision)
    for server in dict.fromkeys((data, mesh)):
        try:
            for one in server.find("configmap", name, namespace=ROOT_NAMESPACE):
                found: Mapping[str, Any] = yaml.safe_load(one["data"]["mesh"]) or {}
                return found
        except DeployError:
            continue
    hidden.append(f"the mesh's configuration (ConfigMap {ROOT_NAMESPACE}/{name})")
    return None


def _pilot_sampling(data: Kubectl, revision: str, hidden: list[str]) -> float | None:
    """Set by the demo profile to 100. Per cent; None where the istiod runs elsewhere, or may not be seen."""
    name = _revised("istiod", revision)
    try:
        found = data.find("deployments", name, namespace=ROOT_NAMESPACE)
    except DeployError:
        found = []
    if not found:
        hidden.append(f"PILOT_TRACE_SAMPLING (Deployment {ROOT_NAMESPACE}/{name})")
        return None
    variables = [one for container in _pod(found[0])["containers"] for one in container.get("env", [])]
    return next((float(one["value"]) for one in variables if one["name"] == "PILOT_TRACE_SAMPLING"), ISTIO_S_DEFAULT)


def _revised(name: str, revision: str) -> str:
    return f"{name}-{revision}" if revision else name


def _pod(deployment: Object) -> Object:
    found: Object = deployment["spec"]["template"]["spec"]
    return found


def workload(deployment: Object) -> Workload:
    """Of a Deployment's pods."""
    metadata = deployment["spec"]["template"].get("metadata", {})
    labels = metadata.get("labels", {})
    annotation = yaml.safe_load(metadata.get("annotations", {}).get("proxy.istio.io/config", "")) or {}
    is_gateway = _GATEWAY_NAME in labels or labels.get("istio", "").endswith("gateway")
    return Workload(deployment["metadata"]["namespace"], labels, "gateway" if is_gateway else "sidecar", annotation)


def ingress(gateway: Gateway) -> Workload:
    return Workload(gateway.namespace, dict([gateway.label]), "gateway")


def rows(deployments: Iterable[Object], seen: Seen) -> Iterator[Row]:
    for one in deployments:
        its = workload(one)
        if its.kind == "sidecar" and its.labels.get("sidecar.istio.io/inject") == "false":
            continue  # a gateway is a proxy by itself, and Istio's own says so by this label
        for direction in its.directions:
            yield Row(one["metadata"]["name"], direction, tracing(its, direction, seen.telemetries, seen.mesh))


def table(found: Sequence[Row]) -> str:
    """A line for each workload and direction."""
    cells = [("workload", "calls", "provider", "sampling", "because")]
    cells += [
        (row.workload, row.direction, provider(row.tracing), sampled(row.tracing), row.tracing.why) for row in found
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)), line[4]]) for line in cells
    ]
    return "".join(f"  {line}\n" for line in lines)


def provider(found: Tracing) -> str:
    if found.state == "off" or (found.state == "bootstrap" and not found.kind):
        return "none"
    return found.provider or "not to be seen"


def sampled(found: Tracing) -> str:
    if found.state == "off":
        return "off"
    return "not to be seen" if found.percentage is None else f"{found.percentage:g} %"


def without_ours(telemetries: Iterable[Object]) -> list[Object]:
    return [one for one in telemetries if not manifests.is_ours(one)]


def with_planned(seen: Seen, objects: Iterable[Object]) -> Seen:
    """As it will be once these objects are there; our Telemetry keeps its age."""
    ages = {_identity(one): one["metadata"].get("creationTimestamp") for one in seen.telemetries}
    # What is made now is younger than all that is there.
    planned = [
        one | {"metadata": one["metadata"] | {"creationTimestamp": ages.get(_identity(one)) or "9999"}}
        for one in objects
        if one["kind"] == "Telemetry"
    ]
    return Seen([*without_ours(seen.telemetries), *planned], seen.mesh, seen.hidden)


def _identity(found: Object) -> tuple[str, str]:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


SVC1 = Workload(topology.NAMESPACE, {"app": topology.host(topology.DEFAULT.first), "version": "v1"})


WAYPOINT = Workload(topology.NAMESPACE, {_GATEWAY_NAME: "waypoint"}, "waypoint")


def ours(objects: Iterable[Object]) -> tuple[Workload, Direction]:
    """Who makes the spans of svc1: its sidecar, or in ambient mode the waypoint in front of it."""
    return (WAYPOINT, "out") if manifests.is_ambient(objects) else (SVC1, "in")


def fitted(objects: Sequence[Object], seen: Seen) -> tuple[list[Object], str]:
    """The objects with our Telemetry as this mesh can use it, and what was changed, in words; empty for nothing.

    One that names no provider turns tracing off where the mesh has no default provider: istiod then leaves the
    classic way, by `defaultConfig.tracing`, which needs that no Telemetry applies.
    """
    if (
        seen.mesh.config is None
        or tracing(*ours(objects), with_planned(seen, objects).telemetries, seen.mesh).state != "off"
    ):
        return list(objects), ""
    before = tracing(*ours(objects), without_ours(seen.telemetries), seen.mesh)
    if before.state == "bootstrap" and before.makes_spans:
        kept = [one for one in objects if one["kind"] != "Telemetry"]
        return kept, f"no Telemetry of ours: it would turn off what {before.provider} traces"
    if _names_one(objects):
        return list(objects), ""  # the overlay's own choice: the check says that the mesh lacks it
    if before.why.endswith("disableSpanReporting") or not (name := tracer(seen.mesh)):
        return list(objects), ""
    return [_naming(one, name) for one in objects], f"our Telemetry names the mesh's provider {name}: it has no default"


def _names_one(objects: Iterable[Object]) -> bool:
    return any(
        entry.get("providers") for one in objects if one["kind"] == "Telemetry" for entry in one["spec"]["tracing"]
    )


def tracer(mesh: Mesh) -> str:
    """The first provider of the mesh that traces; empty for none."""
    kinds = ("opentelemetry", "zipkin", "skywalking", "datadog")
    defined = (mesh.config or {}).get("extensionProviders") or []
    return next((str(one["name"]) for one in defined if any(kind in one for kind in kinds)), "")


_IN_CLUSTER = re.compile(r"([\w-]+)\.([\w-]+)\.svc(?:\.[\w.-]+)?")


def service_of(mesh: Mesh, provider: str) -> tuple[str, str] | None:
    """Namespace and name of the cluster's Service that a provider sends to; None for any other address."""
    defined = (mesh.provider(provider) if provider else None) or {}
    address = next((str(one["service"]) for one in defined.values() if isinstance(one, dict) and "service" in one), "")
    match = _IN_CLUSTER.fullmatch(address.rpartition("/")[2])
    return (match[2], match[1]) if match else None


def _naming(found: Object, provider: str) -> Object:
    if found["kind"] != "Telemetry":
        return found
    entries = [entry | {"providers": [{"name": provider}]} for entry in found["spec"]["tracing"]]
    return found | {"spec": found["spec"] | {"tracing": entries}}


def advice(seen: Seen, namespace: str) -> str:
    """All that a mesh needs to trace every call of the gateway: a provider, and who uses it."""
    name = tracer(seen.mesh) or manifests.PROVIDER
    entry: Object = {"defaultProviders": {"tracing": [name]}}
    if not tracer(seen.mesh):
        entry = manifests.EXTENSION_PROVIDER | entry
    used = indented(telemetry(namespace, name, wide(seen, namespace)))
    return (
        f"add to the mesh's configuration (ConfigMap {ROOT_NAMESPACE}/istio, key mesh)\n{indented(entry)}\n"
        f"or, in place of defaultProviders, apply at the mesh\n{used}"
    )


def wide(seen: Seen, namespace: str) -> str:
    """The name of the Telemetry that counts for a whole namespace: another one beside it would count for nothing."""
    found = list(applicable(Workload(namespace, {}), seen.telemetries, namespace))
    return str(found[0]["metadata"]["name"]) if found else _MESH_DEFAULT


def telemetry(namespace: str, provider: str = "", called: str = _MESH_DEFAULT) -> Object:
    """Every call, with the provider where one has to be named."""
    named = {"providers": [{"name": provider}]} if provider else {}
    return {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": called, "namespace": namespace},
        "spec": {"tracing": [{"randomSamplingPercentage": 100} | named]},
    }


def indented(found: Object) -> str:
    return "\n".join(f"  {line}" for line in yaml.safe_dump(found, sort_keys=False).splitlines())
