"""What no schema sees: that the objects of a folder name each other rightly. Each check yields one line per mistake."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chain import topology
from deploy.kubernetes.manifests import pod_template
from tests.deploy.kubernetes.rendering import Object

GATEWAY_API = "gateway.networking.k8s.io/"
OUR_LABEL = ("app.kubernetes.io/part-of", "grpc-tracing")


@dataclass(frozen=True)
class Pod:
    """The pods of one template: what selectors, ports and policies are held against."""

    owner: str
    labels: Mapping[str, str]
    ports: Mapping[str, int]
    account: str

    def matches(self, selector: Mapping[str, str]) -> bool:
        return selector.items() <= self.labels.items()


class Cluster:
    """The objects of one folder, by kind and name."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self.pods = [*map(_pod, self.workloads()), *map(_gateway_pod, self.of("Gateway", GATEWAY_API))]

    def workloads(self) -> list[Object]:
        """What brings pods: Deployments and CronJobs."""
        return [*self.of("Deployment"), *self.of("CronJob")]

    def of(self, kind: str, group: str = "") -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind and found["apiVersion"].startswith(group)]

    def names(self, kind: str, group: str = "") -> set[str]:
        return {found["metadata"]["name"] for found in self.of(kind, group)}

    def selected(self, selector: Mapping[str, str]) -> list[Pod]:
        return [pod for pod in self.pods if pod.matches(selector)]

    def service_ports(self, name: str) -> set[int]:
        found = (service for service in self.of("Service") if service["metadata"]["name"] == name)
        return {port["port"] for service in found for port in service["spec"]["ports"]}


def _pod(workload: Object) -> Pod:
    template = pod_template(workload)
    containers = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}
    return Pod(
        owner=workload["metadata"]["name"],
        labels=template["metadata"]["labels"],
        ports=ports,
        account=template["spec"].get("serviceAccountName", "default"),
    )


def _gateway_pod(gateway: Object) -> Pod:
    """The pod that Istio starts for a Gateway of the Gateway API, under a name and an account made from its name."""
    name = gateway["metadata"]["name"]
    made = name if gateway["spec"]["gatewayClassName"] == "istio-waypoint" else f"{name}-istio"
    ports = {listener["name"]: listener["port"] for listener in gateway["spec"]["listeners"]}
    return Pod(made, {"gateway.networking.k8s.io/gateway-name": name}, ports, account=made)


def problems(objects: list[Object]) -> list[str]:
    """Every mistake that any check finds, in a fixed order."""
    cluster = Cluster(objects)
    return [f"{check.__name__.lstrip('_')}: {problem}" for check in CHECKS for problem in check(cluster)]


def _envelopes(cluster: Cluster) -> Iterator[str]:
    seen = set()
    for found in cluster.objects:
        key = (found["apiVersion"].partition("/")[0], found["kind"], found["metadata"]["name"])
        if key in seen:
            yield f"{key} stands twice"
        seen.add(key)
        if OUR_LABEL not in found["metadata"].get("labels", {}).items():
            yield f"{key} lacks our label, so down would leave it behind"
        if found["kind"] != "Namespace" and found["metadata"].get("namespace") != topology.NAMESPACE:
            yield f"{key} is not in the namespace {topology.NAMESPACE}"


def _workloads(cluster: Cluster) -> Iterator[str]:
    for deployment in cluster.of("Deployment"):
        pod = _pod(deployment)
        selector = deployment["spec"]["selector"]["matchLabels"]
        if [match.owner for match in cluster.selected(selector)] != [pod.owner]:
            yield f"{pod.owner}'s selector {selector} matches not its own pods alone"
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            if not pod.matches(spread["labelSelector"]["matchLabels"]):
                yield f"{pod.owner} spreads other pods than its own"


def _accounts(cluster: Cluster) -> Iterator[str]:
    for pod in map(_pod, cluster.workloads()):
        if pod.account not in cluster.names("ServiceAccount"):
            yield f"{pod.owner} runs as {pod.account}, which does not exist"


def _probes(cluster: Cluster) -> Iterator[str]:
    for deployment in cluster.of("Deployment"):
        pod = _pod(deployment)
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                for how in ("grpc", "httpGet"):
                    if how in probe and probe[how]["port"] not in {*pod.ports, *pod.ports.values()}:
                        yield f"{pod.owner}'s {kind} asks port {probe[how]['port']}, which no container opens"


def _services(cluster: Cluster) -> Iterator[str]:
    for service in cluster.of("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        pods = cluster.selected(spec["selector"])
        if not pods:
            yield f"{name} selects no pod"
        for pod in pods:
            for port in spec["ports"]:
                if port["targetPort"] not in pod.ports:
                    yield f"{name} sends to port {port['targetPort']}, which {pod.owner} does not open"


def _disruption_budgets(cluster: Cluster) -> Iterator[str]:
    for budget in cluster.of("PodDisruptionBudget"):
        if not cluster.selected(budget["spec"]["selector"]["matchLabels"]):
            yield f"{budget['metadata']['name']} selects no pod"


def _subsets(cluster: Cluster) -> dict[tuple[str, str], Mapping[str, str]]:
    return {
        (rule["spec"]["host"], subset["name"]): subset["labels"]
        for rule in cluster.of("DestinationRule")
        for subset in rule["spec"].get("subsets", [])
    }


def _destination_rules(cluster: Cluster) -> Iterator[str]:
    for rule in cluster.of("DestinationRule"):
        if rule["spec"]["host"] not in cluster.names("Service"):
            yield f"{rule['metadata']['name']} is for host {rule['spec']['host']}, which does not exist"
    selectors = {found["metadata"]["name"]: found["spec"]["selector"] for found in cluster.of("Service")}
    for (host, name), labels in _subsets(cluster).items():
        if not cluster.selected(selectors.get(host, {}) | labels):
            yield f"subset {name} of {host} holds no pod"


def _destinations(service: Object) -> Iterator[Mapping[str, Any]]:
    for route in service["spec"]["http"]:
        for target in route["route"]:
            yield target["destination"]


def _virtual_services(cluster: Cluster) -> Iterator[str]:
    for service in cluster.of("VirtualService"):
        name = service["metadata"]["name"]
        for host in service["spec"]["hosts"]:
            if host != "*" and host not in cluster.names("Service"):
                yield f"{name} is for host {host}, which does not exist"
        for gateway in service["spec"].get("gateways", []):
            if gateway not in cluster.names("Gateway", "networking.istio.io/"):
                yield f"{name} is bound to gateway {gateway}, which does not exist"
        for destination in _destinations(service):
            yield from _wrong_destination(cluster, name, destination)


def _wrong_destination(cluster: Cluster, name: str, destination: Mapping[str, Any]) -> Iterator[str]:
    host, subset = destination["host"], destination.get("subset")
    if host not in cluster.names("Service"):
        yield f"{name} sends to {host}, which does not exist"
    elif destination["port"]["number"] not in cluster.service_ports(host):
        yield f"{name} sends to port {destination['port']['number']}, which {host} does not have"
    if subset is not None and (host, subset) not in _subsets(cluster):
        yield f"{name} sends to subset {subset} of {host}, which no DestinationRule names"


def _sources(policy: Object) -> Iterator[Mapping[str, Any]]:
    for rule in policy["spec"].get("rules", []):
        for source in rule.get("from", []):
            yield source["source"]


def principals(policy: Object) -> list[str]:
    return [principal for source in _sources(policy) for principal in source.get("principals", [])]


def policy_ports(policy: Object) -> set[str]:
    return {
        port
        for rule in policy["spec"].get("rules", [])
        for to in rule.get("to", [])
        for port in to["operation"].get("ports", [])
    }


def _authorization(cluster: Cluster) -> Iterator[str]:
    accounts = cluster.names("ServiceAccount") | {pod.account for pod in cluster.pods}
    known = {f"{topology.TRUST_DOMAIN}/ns/{topology.NAMESPACE}/sa/{account}" for account in accounts}
    for policy in cluster.of("AuthorizationPolicy"):
        name = policy["metadata"]["name"]
        yield from (f"{name} lets {other} in, which does not exist" for other in {*principals(policy)} - known)
        for pod in (pods := _policy_pods(cluster, policy)):
            yield from (
                f"{name} opens port {port}, which {pod.owner} does not"
                for port in policy_ports(policy)
                if int(port) not in pod.ports.values()
            )
        if not pods:
            yield f"{name} selects no pod"


def _policy_pods(cluster: Cluster, policy: Object) -> list[Pod]:
    if "targetRefs" in policy["spec"]:
        return [pod for ref in policy["spec"]["targetRefs"] for pod in _targeted(cluster, ref)]
    return cluster.selected(policy["spec"].get("selector", {}).get("matchLabels", {}))


def _targeted(cluster: Cluster, ref: Mapping[str, str]) -> list[Pod]:
    """The pods of a Gateway, or behind a Service, whose waypoint enforces the policy."""
    if ref["kind"] == "Service":
        services = (one for one in cluster.of("Service") if one["metadata"]["name"] == ref["name"])
        return [pod for one in services for pod in cluster.selected(one["spec"]["selector"])]
    return [pod for pod in cluster.pods if pod.owner in {ref["name"], f"{ref['name']}-istio"}]


def _gateway_routes(cluster: Cluster) -> Iterator[str]:
    listeners = {
        (gateway["metadata"]["name"], listener["name"])
        for gateway in cluster.of("Gateway", GATEWAY_API)
        for listener in gateway["spec"]["listeners"]
    }
    for route in cluster.of("GRPCRoute"):
        name = route["metadata"]["name"]
        for parent in route["spec"]["parentRefs"]:
            if (parent["name"], parent["sectionName"]) not in listeners:
                yield f"{name} hangs on {parent}, which does not exist"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if backend["port"] not in cluster.service_ports(backend["name"]):
                    yield f"{name} sends to {backend}, which does not exist"


def _network_policies(cluster: Cluster) -> Iterator[str]:
    for policy in cluster.of("NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        pods = cluster.selected(spec["podSelector"].get("matchLabels", {}))
        if not pods:
            yield f"{name} selects no pod"
        for rule in spec.get("ingress", []):
            yield from _wrong_rule(cluster, name, pods, rule)


def _wrong_rule(cluster: Cluster, name: str, pods: list[Pod], rule: Mapping[str, Any]) -> Iterator[str]:
    for source in rule.get("from", []):
        selector = source.get("podSelector")
        if selector is not None and not cluster.selected(selector.get("matchLabels", {})):
            yield f"{name} lets {selector} in, which no pod matches"
    opened = {port for pod in pods for port in pod.ports.values()}
    for port in rule["ports"]:
        if port["port"] not in opened:
            yield f"{name} opens port {port['port']}, which no pod of its does"


CHECKS: tuple[Callable[[Cluster], Iterator[str]], ...] = (
    _envelopes,
    _workloads,
    _accounts,
    _probes,
    _services,
    _disruption_budgets,
    _destination_rules,
    _virtual_services,
    _authorization,
    _gateway_routes,
    _network_policies,
)
