"""Every folder under k8s/ that a user may apply: rendered, held against schemas, references and the topology."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from chain import topology
from deploy.kubernetes.manifests import pod_template
from grpc_tracing.commands.options import audit_parser
from grpc_tracing.version import VERSION
from mesh.envoy import nodes
from protos import hello_pb2, landing_pb2
from tests.deploy.kubernetes.references import Cluster, policy_ports, principals, problems
from tests.deploy.kubernetes.rendering import COMPONENTS, FOLDERS, K8S, OVERLAYS, ROOT, Object, render, render_with
from tests.deploy.kubernetes.schemas import KUBERNETES_VERSIONS, is_gateway_api, is_istio, schema_problem
from tests.support.cells import cells

_SERVICES = [*landing_pb2.DESCRIPTOR.services_by_name.values(), *hello_pb2.DESCRIPTOR.services_by_name.values()]
WORKLOAD_OVERLAYS = [f"overlays/{name}" for name in OVERLAYS]


@pytest.mark.parametrize("version", cells(KUBERNETES_VERSIONS, KUBERNETES_VERSIONS[-1:]))
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_objects_hold_their_schema(folder: str, version: str) -> None:
    found = [found for found in render(K8S / folder) if not is_istio(found) and not is_gateway_api(found)]
    assert found
    assert [problem for one in found if (problem := schema_problem(one, version))] == []


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != "base"])
def test_mesh_objects_hold_their_schema(folder: str) -> None:
    found = [found for found in render(K8S / folder) if is_istio(found) or is_gateway_api(found)]
    assert found
    assert [problem for one in found if (problem := schema_problem(one))] == []


@pytest.mark.parametrize("folder", ["base", *WORKLOAD_OVERLAYS])
def test_objects_name_each_other_rightly(folder: str) -> None:
    assert problems(render(K8S / folder)) == []


def test_base_and_mesh_applied_one_after_the_other_are_whole() -> None:
    base, mesh = render(K8S / "base"), render(K8S / "mesh")
    assert problems([*base, *(found for found in mesh if found["kind"] != "Namespace")]) == []
    assert [found for found in mesh if found["kind"] == "Namespace"] == [
        found for found in base if found["kind"] == "Namespace"
    ]


def test_all_components_stand_together(tmp_path: Path) -> None:
    objects = render_with(COMPONENTS, tmp_path)
    assert problems(objects) == []
    assert [problem for one in objects if (problem := schema_problem(one))] == []


def test_what_the_mesh_gets_says_whom_the_topology_lets_call_whom() -> None:
    policies = Cluster(render(K8S / "mesh")).of("AuthorizationPolicy")
    allowed = {policy["metadata"]["name"]: set(_callers(policy)) for policy in policies}
    expected = {topology.host(service): set(topology.DEFAULT.callers(service)) for service in topology.DEFAULT.services}
    assert allowed == expected | {"deny-by-default": set()}
    assert next(p for p in policies if p["metadata"]["name"] == "deny-by-default")["spec"] == {}


def _callers(policy: Object) -> list[str]:
    accounts = [principal.rpartition("/sa/")[2] for principal in principals(policy)]
    sources = [source["source"] for rule in policy["spec"].get("rules", []) for source in rule["from"]]
    return accounts + [topology.INGRESS for source in sources if source.get("namespaces") == ["istio-system"]]


CALLED_ON_US = {
    *(f"/{service.full_name}/{method.name}" for service in _SERVICES for method in service.methods),
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}


@pytest.mark.parametrize("folder", ["mesh", *WORKLOAD_OVERLAYS])
def test_policies_let_exactly_our_rpcs_in(folder: str) -> None:
    policies = [one for one in Cluster(render(K8S / folder)).of("AuthorizationPolicy") if "rules" in one["spec"]]
    # In ambient mode the pods let the waypoint in, which has let in what the others say.
    policies = [one for one in policies if one["metadata"]["name"] != "through-the-waypoint"]
    assert {one["metadata"]["name"] for one in policies} >= {
        topology.host(service) for service in topology.DEFAULT.services
    }
    for policy in policies:
        (rule,) = policy["spec"]["rules"]
        (when,) = rule["when"]
        assert when["key"] == "request.headers[:path]"
        assert set(when["values"]) == CALLED_ON_US, policy["metadata"]["name"]


def test_identities_are_in_the_topology_s_trust_domain() -> None:
    policies = Cluster(render(K8S / "mesh")).of("AuthorizationPolicy")
    prefix = topology.spiffe_prefix().removeprefix("spiffe://")
    assert [name for policy in policies for name in principals(policy) if not name.startswith(prefix)] == []


def test_network_policies_say_whom_the_topology_lets_call_whom(tmp_path: Path) -> None:
    found = Cluster(render_with(("network-policies", "traces", "gateway-api"), tmp_path)).of("NetworkPolicy")
    by_name = {policy["metadata"]["name"]: policy["spec"] for policy in found}
    for caller, callee in topology.DEFAULT.edges:
        sources = by_name[topology.host(callee)]["ingress"][0]["from"]
        assert _network_source(caller) in sources, f"{caller} may call {callee}"
    assert {name: len(by_name[topology.host(name)]["ingress"][0]["from"]) for name in topology.DEFAULT.services} == {
        "svc1": 3,  # two ingresses and the client
        "svc2": 1,
        "svc3": 1,
    }


def _network_source(caller: str) -> Object:
    if caller == topology.INGRESS:
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}
    app = "grpc-client" if caller == topology.CLIENT else topology.host(caller)
    return {"podSelector": {"matchLabels": {"app": app}}}


def test_services_ports_and_accounts_are_the_topology_s() -> None:
    cluster = Cluster(render(K8S / "base"))
    expected = {topology.host(service) for service in topology.DEFAULT.services}
    assert cluster.names("Service") == cluster.names("PodDisruptionBudget") == expected
    assert cluster.names("ServiceAccount") == {*topology.DEFAULT.services, topology.CLIENT}
    assert {name: cluster.service_ports(name) for name in expected} == {
        key: {topology.SERVICE_PORT} for key in expected
    }
    accounts = {pod.owner: pod.account for pod in cluster.pods}
    assert accounts == {topology.host(service): service for service in topology.DEFAULT.services} | {
        "grpc-client": topology.CLIENT
    }
    assert cluster.names("Namespace") == {topology.NAMESPACE}


def test_each_service_calls_the_next_one_by_its_kubernetes_name() -> None:
    for service in topology.DEFAULT.services:
        facts = yaml.safe_load((ROOT / service / "service.yaml").read_text())
        hop = topology.DEFAULT.next_hop(service)
        assert facts["next_hop"] == (f"dns:///{topology.host(hop)}:{topology.SERVICE_PORT}" if hop else "none")


def test_each_pod_runs_the_service_that_it_is_named_after() -> None:
    ran = {deployment["metadata"]["name"]: _talk(deployment)["args"] for deployment in _talk_deployments("lanes")}
    assert ran == {topology.host(service): [service] for service in topology.DEFAULT.services} | {
        "grpc-server-svc3-canary": ["svc3"]
    }


@pytest.mark.parametrize("folder", ["istio", "gateway-api"])
def test_the_way_in_is_the_ingress_port(folder: str) -> None:
    cluster = Cluster(render(K8S / "overlays" / folder))
    (gateway,) = cluster.of("Gateway")
    ports = [server["port"]["number"] for server in gateway["spec"].get("servers", [])]
    ports += [listener["port"] for listener in gateway["spec"].get("listeners", [])]
    assert ports == [topology.INGRESS_PORT]


def test_the_gateway_of_the_gateway_api_lets_everybody_in_at_its_port() -> None:
    cluster = Cluster(render(K8S / "overlays" / "gateway-api"))
    (policy,) = (p for p in cluster.of("AuthorizationPolicy") if "targetRefs" in p["spec"])
    assert policy_ports(policy) == {str(topology.INGRESS_PORT)}
    assert "from" not in policy["spec"]["rules"][0]


def test_the_lane_is_the_topology_s() -> None:
    lane = topology.CANARY
    cluster = Cluster(render(K8S / "overlays" / "lanes"))
    service = next(v for v in cluster.of("VirtualService") if v["metadata"]["name"] == topology.host(lane.service))
    canary, stable = service["spec"]["http"]
    assert canary["match"] == [{"headers": {lane.header: {"exact": lane.value}}}]
    assert canary["route"][0]["destination"]["subset"] == lane.version
    assert "match" not in stable
    versions = {pod.owner: pod.labels["version"] for pod in cluster.selected({"app": topology.host(lane.service)})}
    assert versions == {"grpc-server-svc3": "v1", "grpc-server-svc3-canary": lane.version}


def test_the_trace_store_listens_where_the_topology_says() -> None:
    cluster = Cluster(render(K8S / "overlays" / "traces"))
    ports = {topology.OTLP_GRPC_PORT, topology.OTLP_HTTP_PORT, topology.PAGES_PORT}
    assert cluster.service_ports("traces") == ports
    (pod,) = cluster.selected({"app": "traces"})
    assert set(pod.ports.values()) == ports
    (args,) = (_containers(d)[0]["args"] for d in cluster.of("Deployment") if d["metadata"]["name"] == "traces")
    assert args[:2] == ["grpc_tracing", "store"]
    given = list(zip(args[2::2], args[3::2], strict=True))
    assert {int(value.rpartition(":")[2]) for option, value in given if option != "--allowed-host"} == ports
    # Under its names in the cluster: the requester's job asks it by them.
    assert {value for option, value in given if option == "--allowed-host"} >= {"traces", "*.svc"}


def test_only_the_ingress_retries() -> None:
    services = Cluster(render(K8S / "mesh")).of("VirtualService")
    attempts = {s["metadata"]["name"]: [r["retries"]["attempts"] for r in s["spec"]["http"]] for s in services}
    assert attempts == {"grpc-tracing-ingress": [2], "grpc-server-svc2": [0], "grpc-server-svc3": [0]}


def test_with_retries_the_ingress_waits_between_its_tries_and_no_other_hop_has_any(tmp_path: Path) -> None:
    services = Cluster(render_with(("retries",), tmp_path)).of("VirtualService")
    retries = {s["metadata"]["name"]: s["spec"]["http"][0]["retries"] for s in services}
    assert retries["grpc-tracing-ingress"] | {"retryOn": ""} == {"attempts": 8, "backoff": "1s", "retryOn": ""}
    assert {one["attempts"] for name, one in retries.items() if name != "grpc-tracing-ingress"} == {0}


# istiod's webhook refuses every other word; reset-before-request came with 1.23, and we promise 1.22 and older.
RETRY_POLICIES_OF_ISTIO_1_22 = {
    *("5xx", "gateway-error", "reset", "connect-failure", "retriable-4xx", "refused-stream", "retriable-status-codes"),
    *("retriable-headers", "envoy-ratelimited", "http3-post-connect-failure"),
    *("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
}


def test_the_ingress_retries_on_what_the_oldest_mesh_knows_and_the_local_one_does() -> None:
    services = Cluster(render(K8S / "mesh")).of("VirtualService")
    (words,) = {r["retries"]["retryOn"] for s in services for r in s["spec"]["http"] if r["retries"]["attempts"]}
    assert set(words.split(",")) <= RETRY_POLICIES_OF_ISTIO_1_22
    assert words == nodes.RETRY_ON


def test_the_mesh_is_asked_for_mutual_tls_every_call_s_trace_and_grpc() -> None:
    cluster = Cluster(render(K8S / "overlays" / "istio"))
    assert [policy["spec"] for policy in cluster.of("PeerAuthentication")] == [{"mtls": {"mode": "STRICT"}}]
    assert [one["spec"]["tracing"][0]["randomSamplingPercentage"] for one in cluster.of("Telemetry")] == [100]
    rules = cluster.of("DestinationRule")
    assert {rule["metadata"]["name"] for rule in rules} >= {
        topology.host(service) for service in topology.DEFAULT.services
    }
    assert {rule["spec"]["trafficPolicy"]["tls"]["mode"] for rule in rules} == {"ISTIO_MUTUAL"}
    (gateway,) = cluster.of("Gateway")
    assert [server["port"]["protocol"] for server in gateway["spec"]["servers"]] == ["GRPC"]
    ports = [port for service in cluster.of("Service") for port in service["spec"]["ports"]]
    assert {(port["name"], port["appProtocol"]) for port in ports} == {("grpc", "grpc")}


def test_each_service_runs_twice_apart_and_is_asked_by_grpc_how_it_is() -> None:
    for deployment in _talk_deployments("istio"):
        spec = deployment["spec"]["template"]["spec"]
        assert deployment["spec"]["replicas"] == 2
        assert spec["topologySpreadConstraints"]
        probes = {kind: _talk(deployment)[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert {kind for kind, probe in probes.items() if "grpc" not in probe} == set()


def test_older_meshes_get_the_same_objects_under_older_versions() -> None:
    today, older = (Cluster(render(K8S / "overlays" / name)).objects for name in ("istio", "older-api"))
    renamed = {
        "networking.istio.io/v1": "networking.istio.io/v1beta1",
        "security.istio.io/v1": "security.istio.io/v1beta1",
        "telemetry.istio.io/v1": "telemetry.istio.io/v1alpha1",
    }
    expected = [found | {"apiVersion": renamed.get(found["apiVersion"], found["apiVersion"])} for found in today]
    assert sorted(map(str, older)) == sorted(map(str, expected))


@pytest.mark.parametrize("folder", ["base", *WORKLOAD_OVERLAYS])
def test_every_container_asks_for_what_pod_security_restricted_wants(folder: str) -> None:
    _check_restricted(Cluster(render(K8S / folder)))


def test_those_of_all_components_do_too(tmp_path: Path) -> None:
    _check_restricted(Cluster(render_with(COMPONENTS, tmp_path)))


def _check_restricted(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        spec = pod_template(workload)["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(spec)
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} == set(container["resources"])


def test_the_audit_s_command_line_is_one_that_it_takes_and_reads_the_trace_store(tmp_path: Path) -> None:
    cluster = Cluster(render_with(("audit", "traces"), tmp_path))
    (job,) = cluster.of("CronJob")
    (container,) = pod_template(job)["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    program, command, *words = container["args"]
    assert (program, command) == ("grpc_tracing", "audit")
    parsed = audit_parser().parse_args([given.get(word.strip("$()"), word) for word in words])
    assert parsed.last == 3600
    url = urlsplit(parsed.traces)
    assert url.hostname in cluster.names("Service")
    assert url.port in cluster.service_ports("traces")


def test_the_audit_runs_once_and_its_exit_code_is_the_job_s(tmp_path: Path) -> None:
    (job,) = Cluster(render_with(("audit",), tmp_path)).of("CronJob")
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    template = pod_template(job)
    assert template["spec"]["restartPolicy"] == "Never"
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false", "a sidecar may outlive it"


def test_a_pod_has_time_to_drain_before_its_sidecar_and_its_end() -> None:
    for deployment in _talk_deployments("lanes"):
        template = deployment["spec"]["template"]
        env = {entry["name"]: entry.get("value") for entry in _talk(deployment)["env"]}
        proxy = yaml.safe_load(template["metadata"]["annotations"]["proxy.istio.io/config"])
        drain = _seconds(env["TALK_DRAIN_PAUSE"]) + _seconds(env["TALK_GRACE"])
        sidecar = _seconds(proxy["terminationDrainDuration"])
        assert drain < sidecar < template["spec"]["terminationGracePeriodSeconds"]
        assert proxy["holdApplicationUntilProxyStarts"] is True


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize("folder", ["base", *WORKLOAD_OVERLAYS])
def test_the_images_are_this_version_s_and_can_be_renamed_in_one_place(folder: str) -> None:
    images = {_containers(deployment)[0]["image"] for deployment in Cluster(render(K8S / folder)).of("Deployment")}
    assert images == {f"grpc-tracing:{VERSION}", f"grpc-tracing-mesh:{VERSION}"}
    entries = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())["images"]
    assert [entry["name"] for entry in entries] == ["grpc-tracing", "grpc-tracing-mesh"]


def _talk_deployments(overlay: str) -> list[Object]:
    found = Cluster(render(K8S / "overlays" / overlay)).of("Deployment")
    return [deployment for deployment in found if deployment["metadata"]["name"].startswith("grpc-server-")]


def _containers(deployment: Object) -> list[dict[str, Any]]:
    return list(deployment["spec"]["template"]["spec"]["containers"])


def _talk(deployment: Object) -> dict[str, Any]:
    return next(container for container in _containers(deployment) if container["name"] == "talk")


def test_in_ambient_mode_the_waypoint_enforces_and_traces_and_nobody_gets_past_it() -> None:
    cluster = Cluster(render(K8S / "overlays" / "ambient"))
    (namespace,) = cluster.of("Namespace")
    assert namespace["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient"
    assert "istio-injection" not in namespace["metadata"]["labels"]
    services = [one for one in cluster.of("Service") if one["metadata"]["name"].startswith("grpc-server-")]
    assert {one["metadata"]["labels"]["istio.io/use-waypoint"] for one in services} == {"waypoint"}
    policies = {one["metadata"]["name"]: one["spec"] for one in cluster.of("AuthorizationPolicy")}
    for name in (topology.host(service) for service in topology.DEFAULT.services):
        assert policies[name]["targetRefs"] == [{"group": "", "kind": "Service", "name": name}]
        assert "selector" not in policies[name]
    assert principals({"spec": policies["through-the-waypoint"]}) == [
        f"{topology.TRUST_DOMAIN}/ns/{topology.NAMESPACE}/sa/waypoint"
    ]
    (telemetry,) = cluster.of("Telemetry")
    assert [target["name"] for target in telemetry["spec"]["targetRefs"]] == ["waypoint"]
    assert all("tls" not in rule["spec"]["trafficPolicy"] for rule in cluster.of("DestinationRule"))
