"""Whether calls get to svc1: the ingress gateway, its port, and who else has taken it."""

from collections.abc import Iterable, Iterator

from chain import topology
from deploy.kubernetes import manifests
from deploy.kubernetes.findings import Finding, Target
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Forbidden, Kubectl, Object
from deploy.steps import DeployError

ISTIO_GATEWAYS = "gateways.networking.istio.io"


def way_in(target: Target) -> Iterator[Finding]:
    """Whether the ingress gateway is there, lets calls in at our port, and hands them to us."""
    if target.gateway.is_ours:
        if target.place == "asm":
            yield Finding("failed", _ASM_STARTS_NONE)
        return
    try:
        service = target.gateway.service(target.data)
    except DeployError:
        where = target.gateway.namespace
        yield Finding("warning", f"the ingress gateway could not be seen: no right to look at Services in {where}")
        return
    if service is None:
        yield Finding("failed", target.gateway.missing(target.data))
    elif target.gateway.opens_our_port(service):
        yield Finding("ok", f"the ingress gateway opens port {topology.INGRESS_PORT}")
    else:
        yield Finding("warning", target.gateway.closed(service, target.data, target.mesh))
    try:
        yield from (Finding("warning", text) for text in rivals(target.data, target.mesh, target.gateway))
    except DeployError as error:
        why = "no right to list Gateways" if isinstance(error, Forbidden) else str(error).splitlines()[0]
        yield Finding("warning", f"whether another Gateway takes our port could not be seen: {why}")


_ASM_STARTS_NONE = (
    "ASM starts no gateway for the Gateway API's Gateway: it reads the object from the ACK cluster and binds it to the"
    " gateway that its spec.addresses names. Leave gateway-api out, or see docs/asm.md"
)


def rivals(data: Kubectl, mesh: Kubectl, gateway: Gateway) -> list[str]:
    """Istio Gateways of others for the same pods, port and hosts, in words: among equals Istio takes the oldest."""
    found = mesh.find(ISTIO_GATEWAYS, "--all-namespaces")
    pods = _pod_labels(gateway, data)
    ours = next((one for one in found if manifests.is_ours(one)), None)
    others = [one for one in found if not manifests.is_ours(one) and _takes_our_port(one, pods)]
    return [_said(one, mesh) for one in others if ours is None or _age(one) < _age(ours)]


def _age(found: Object) -> str:
    return str(found["metadata"].get("creationTimestamp", ""))


def _pod_labels(gateway: Gateway, data: Kubectl) -> dict[str, str]:
    deployment = gateway.deployment(data)
    labels = deployment["spec"]["template"]["metadata"].get("labels", {}) if deployment else {}
    return dict([gateway.label]) | labels


def _takes_our_port(found: Object, pods: dict[str, str]) -> bool:
    """Ours has the hosts `*`, so those of any other overlap."""
    selector = found["spec"].get("selector") or {}
    servers: Iterable[Object] = found["spec"].get("servers") or []
    return selector.items() <= pods.items() and any(one["port"]["number"] == topology.INGRESS_PORT for one in servers)


def _said(found: Object, mesh: Kubectl) -> str:
    where, name = found["metadata"]["namespace"], found["metadata"]["name"]
    hosts = sorted({host for one in found["spec"]["servers"] for host in one.get("hosts") or []})
    look = mesh.shown("get", ISTIO_GATEWAYS, name, "--namespace", where, "--output", "yaml")
    return (
        f"the Gateway {where}/{name} is older than ours and takes port {topology.INGRESS_PORT} of the ingress gateway"
        f" for {', '.join(hosts)}: calls to these hosts go its way, not to svc1 ({look})"
    )
