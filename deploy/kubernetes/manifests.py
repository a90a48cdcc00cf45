"""From an overlay to the objects of each API server."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from chain import topology
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.steps import ROOT, DeployError

OVERLAYS = ROOT / "k8s" / "overlays"
COMPONENTS = ROOT / "k8s" / "components"

OURS = "app.kubernetes.io/part-of=grpc-tracing"
"""The label of everything that is ours."""

SERVICE_IMAGE, MESH_IMAGE = "grpc-tracing", "grpc-tracing-mesh"

DATA_RESOURCES = {
    ("GRPCRoute", "gateway.networking.k8s.io"): "grpcroutes",
    ("Gateway", "gateway.networking.k8s.io"): "gateways",
    ("CronJob", "batch"): "cronjobs",
    ("Deployment", "apps"): "deployments",
    ("PodDisruptionBudget", "policy"): "poddisruptionbudgets",
    ("Service", ""): "services",
    ("NetworkPolicy", "networking.k8s.io"): "networkpolicies",
    ("ServiceAccount", ""): "serviceaccounts",
}
"""What our overlays and components put into the cluster, by kind and group, in the order in which it goes away."""

MESH_RESOURCES = {
    ("VirtualService", "networking.istio.io"): "virtualservices",
    ("Gateway", "networking.istio.io"): "gateways",
    ("DestinationRule", "networking.istio.io"): "destinationrules",
    ("Telemetry", "telemetry.istio.io"): "telemetries",
    ("AuthorizationPolicy", "security.istio.io"): "authorizationpolicies",
    ("PeerAuthentication", "security.istio.io"): "peerauthentications",
}
"""The same for the mesh."""


@dataclass(frozen=True)
class Images:
    service: str
    mesh: str

    @staticmethod
    def named(service: str, mesh: str | None) -> "Images":
        """Without a name of its own, the second image is the first one's with -mesh at its tag."""
        if not mesh and "@" in service:
            raise DeployError(f"{service} names a digest: --mesh-image names the other image")
        tagged = service if ":" in service.rpartition("/")[2] else f"{service}:latest"
        return Images(service, mesh or f"{tagged}-mesh")


def folder(overlay: str) -> Path:
    """A name under k8s/overlays, or the user's own folder."""
    chosen = OVERLAYS / overlay if (OVERLAYS / overlay).is_dir() else Path(overlay)
    if not (chosen / "kustomization.yaml").is_file():
        names = ", ".join(sorted(path.name for path in OVERLAYS.iterdir()))
        raise DeployError(f"no overlay {overlay}: --overlay takes {names}, or a folder with a kustomization.yaml")
    return chosen


def render(kubectl: Kubectl, overlay: str, components: Sequence[str] = ()) -> list[Object]:
    """An overlay's objects, with components of ours on top, in the order given."""
    base = folder(overlay)
    if not components:
        return _objects(kubectl, base)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(_composed(base, components, Path(scratch))))
        return _objects(kubectl, Path(scratch))


def _objects(kubectl: Kubectl, its: Path) -> list[Object]:
    return [found for found in yaml.safe_load_all(kubectl.must("kustomize", str(its))) if found]


def _composed(base: Path, components: Sequence[str], scratch: Path) -> Object:
    """The images once more, for what the components add."""
    images = yaml.safe_load((base / "kustomization.yaml").read_text()).get("images")
    return {
        "resources": [_relative(base, scratch)],
        "components": [_relative(component(name), scratch) for name in components],
    } | ({"images": images} if images else {})


def component(name: str) -> Path:
    if not (COMPONENTS / name / "kustomization.yaml").is_file():
        names = ", ".join(sorted(path.name for path in COMPONENTS.iterdir()))
        raise DeployError(f"no component {name}: --with takes {names}")
    return COMPONENTS / name


def _relative(target: Path, start: Path) -> str:
    """kustomize refuses absolute paths."""
    return os.path.relpath(target.resolve(), start.resolve())


def set_images(objects: Iterable[Object], images: Images) -> None:
    """Gives our two images the names that the cluster can pull. Names that an overlay has changed stay."""
    names = {SERVICE_IMAGE: images.service, MESH_IMAGE: images.mesh}
    for container in containers(objects):
        container["image"] = names.get(container["image"].partition(":")[0], container["image"])


def needs_images(objects: Iterable[Object]) -> bool:
    """Whether a name is still the one under which nothing is published."""
    names = {container["image"].partition(":")[0] for container in containers(objects)}
    return bool(names & {SERVICE_IMAGE, MESH_IMAGE})


def containers(objects: Iterable[Object]) -> Iterator[Object]:
    """The containers of every workload, to be read or changed."""
    for found in objects:
        if found["kind"] in _WORKLOADS:
            yield from pod_template(found)["spec"]["containers"]


_WORKLOADS = ("Deployment", "CronJob")


def pod_template(workload: Object) -> Object:
    """A CronJob's stands in its Job's."""
    spec = workload["spec"]
    template: Object = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    return template


def group(found: Object) -> str:
    """The API group; empty for the core's."""
    version: str = found["apiVersion"]
    return version.rpartition("/")[0]


def is_the_mesh_s(found: Object) -> bool:
    return group(found).endswith(".istio.io")


def is_ours(found: Object) -> bool:
    key, _, value = OURS.partition("=")
    return bool(found["metadata"].get("labels", {}).get(key) == value)


def is_namespace(found: Object) -> bool:
    return bool(found["kind"] == "Namespace")


def resource(found: Object) -> tuple[str, str] | None:
    """Plural and group, as the API's paths have them; None for a kind that no overlay of ours has."""
    key = (found["kind"], group(found))
    plural = (DATA_RESOURCES | MESH_RESOURCES).get(key)
    return (plural, key[1]) if plural else None


def full_names(resources: dict[tuple[str, str], str]) -> list[str]:
    """As kubectl takes them: `deployments.apps`."""
    return [f"{plural}.{api_group}".removesuffix(".") for (_, api_group), plural in resources.items()]


def dump(objects: Iterable[Object]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)


def of_kind(objects: Iterable[Object], kind: str, api_group: str) -> Iterator[Object]:
    return (found for found in objects if found["kind"] == kind and group(found) == api_group)


def has_named(objects: Iterable[Object], kind: str, name: str) -> bool:
    return any((found["kind"], found["metadata"]["name"]) == (kind, name) for found in objects)


def is_ambient(objects: Iterable[Object]) -> bool:
    """Whether the namespace asks for ztunnel in place of sidecars."""
    labels = (one["metadata"].get("labels", {}) for one in objects if is_namespace(one))
    return any(one.get(DATAPLANE_MODE) == "ambient" for one in labels)


DATAPLANE_MODE = "istio.io/dataplane-mode"
TRACES = "traces"
"""The Deployment of the trace store, where the component of that name is in."""
PROVIDER = "grpc-tracing"
EXTENSION_PROVIDER = {
    "extensionProviders": [
        {
            "name": PROVIDER,
            "opentelemetry": {
                "service": f"traces.{topology.NAMESPACE}.svc.cluster.local",
                "port": topology.OTLP_GRPC_PORT,
            },
        }
    ]
}
"""What the mesh's administrator adds to the mesh's configuration for the overlay traces."""
