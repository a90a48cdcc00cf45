"""The way into the mesh: the ingress gateway's Service, its address, and a forwarded port where there is none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chain import topology
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.steps import DeployError

PORT = topology.INGRESS_PORT
GATEWAYS = "gateways.gateway.networking.k8s.io"
GATEWAY = "grpc-tracing"
"""The Gateway API's object of the overlay gateway-api; the mesh names what it starts for it after it."""


@dataclass(frozen=True)
class Gateway:
    """Found by the label of its pods, which is what an Istio Gateway selects them by.

    is_ours: the Gateway API's, in our namespace; else the mesh's own, shared with others.
    """

    namespace: str
    label: tuple[str, str]
    is_ours: bool
    asm: bool = False

    @classmethod
    def of_the_mesh(cls, namespace: str, *, asm: bool = False) -> "Gateway":
        return cls(namespace, ("istio", "ingressgateway"), is_ours=False, asm=asm)

    @classmethod
    def of_the_gateway_api(cls) -> "Gateway":
        return cls(topology.NAMESPACE, ("gateway.networking.k8s.io/gateway-name", GATEWAY), is_ours=True)

    def service(self, kubectl: Kubectl) -> Object | None:
        found = kubectl.find("services", namespace=self.namespace)
        return next((one for one in found if self.label in one["spec"].get("selector", {}).items()), None)

    def was_applied(self, kubectl: Kubectl) -> bool:
        """Whether its Gateway object, for one that is ours, is there; who may not look sees it by its Service."""
        try:
            known = GATEWAYS in kubectl.resources()
            return known and bool(kubectl.find(GATEWAYS, GATEWAY, namespace=self.namespace))
        except DeployError:
            return self.service(kubectl) is not None

    def missing(self, data: Kubectl) -> str:
        if self.is_ours:
            look = data.shown("describe", GATEWAYS, GATEWAY, "--namespace", self.namespace)
            return (
                f"the mesh has started nothing for the Gateway {GATEWAY} in {self.namespace}: does it serve the"
                f" GatewayClass istio? See {look}"
            )
        fix = "create one in the ASM console" if self.asm else "install Istio's gateway"
        return (
            f"no ingress gateway: no Service in {self.namespace} selects pods with the label {'='.join(self.label)};"
            f" {fix}, or name its namespace with --ingress-namespace"
        )

    def closed(self, service: Object, data: Kubectl, mesh: Kubectl) -> str:
        """What to say where its Service does not open our port."""
        name = service["metadata"]["name"]
        fix = _asm_fix(mesh) if self.asm else f"  {_patch(data, name, self.namespace)}"
        return (
            f"the ingress gateway's Service {name} does not open port {PORT}, so test.sh forwards one;"
            f" to open it for good:\n{fix}"
        )

    def opens_our_port(self, service: Object) -> bool:
        return any(port["port"] == PORT for port in service["spec"]["ports"])

    def address(self, service: Object) -> str | None:
        """HOST:PORT from outside, by IP address or host name; None where there is no way but a forwarded port."""
        balanced = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        hosts = [host for one in balanced if (host := one.get("ip") or one.get("hostname"))]
        if not self.opens_our_port(service) or not hosts:
            return None
        return f"[{hosts[0]}]:{PORT}" if ":" in hosts[0] else f"{hosts[0]}:{PORT}"

    def deployment(self, kubectl: Kubectl) -> Object | None:
        found = kubectl.find("deployments", namespace=self.namespace)
        return next((one for one in found if self.label in _pod_labels(one).items()), None)

    @contextmanager
    def reached(self, kubectl: Kubectl) -> Iterator[str]:
        """HOST:PORT to call for as long as the block runs."""
        service = self.service(kubectl)
        if service is None:
            raise DeployError(self.missing(kubectl))
        address = self.address(service)
        if address:
            yield address
            return
        deployment = self.deployment(kubectl)
        if deployment is None:
            raise DeployError(f"no Deployment in {self.namespace} runs pods with the label {'='.join(self.label)}")
        with kubectl.forwarding(f"deployment/{deployment['metadata']['name']}", self.namespace, PORT) as ports:
            yield f"127.0.0.1:{ports[PORT]}"


def _pod_labels(deployment: Object) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"].get("labels", {})
    return labels


def _asm_fix(mesh: Kubectl) -> str:
    return (
        f"  {mesh.shown('edit', 'istiogateways', '--namespace', 'istio-system')}   and under spec.ports:\n"
        f"  - {{name: grpc-tracing, port: {PORT}, targetPort: {PORT}, protocol: TCP}}"
    )


def _patch(data: Kubectl, name: str, namespace: str) -> str:
    port = {"name": "grpc-tracing", "port": PORT, "targetPort": PORT, "appProtocol": "grpc"}
    add = json.dumps([{"op": "add", "path": "/spec/ports/-", "value": port}])
    return data.shown("patch", "service", name, "--namespace", namespace, "--type", "json", "--patch", add)
