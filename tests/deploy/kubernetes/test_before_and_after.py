"""apply.sh and test.sh beside others: fields, Gateways and rights that are somebody else's, and what is shown."""

from pathlib import Path

import pytest

from tests.deploy.kubernetes import cluster
from tests.deploy.kubernetes.cluster import IMAGE, Clusters, an_object, ingress_service, namespace
from tests.deploy.kubernetes.rendering import Object
from tests.support.processes import chain


@pytest.fixture
def clusters(tmp_path: Path) -> Clusters:
    return cluster.make(tmp_path)


def test_fields_that_others_have_set_are_told_in_a_line_each_before_anything_is_changed(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    before = clusters.objects()
    clusters.change(conflicts=["deployment.apps/grpc-server-svc1"])
    done = clusters.run("apply", "k8s", "--image", "other/one:2")
    assert (done.returncode, clusters.objects()) == (1, before)
    delete = "kubectl delete deployment.apps grpc-server-svc1 --namespace grpc-tracing"
    assert done.stderr.splitlines()[-4:] == [
        "k8s: nothing was changed: 3 refusals",
        *(
            f"  deployment/grpc-server-svc1: {field} is set by {manager}: --take-over makes it ours, or {delete}"
            for field, manager in (
                (".spec.replicas", "kubectl-edit"),
                ('.spec.template.spec.containers[name="talk"].image', "kubectl-client-side-apply"),
                (".spec.strategy", "kubectl-client-side-apply"),
            )
        ),
    ]


@pytest.mark.parametrize("way", ["--take-over", "as printed"])
def test_both_ways_out_of_a_conflict_work(clusters: Clusters, way: str) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.change(conflicts=["deployment.apps/grpc-server-svc1"])
    if way == "as printed":
        done = clusters.run("apply", "k8s", *IMAGE)
        clusters.shell(done.stderr.splitlines()[-1].rpartition(" or ")[2])
        clusters.change(conflicts=[])
    done = clusters.run("apply", "k8s", *IMAGE, *(["--take-over"] if way == "--take-over" else []))
    assert done.returncode == 0, done.stderr


def test_a_refused_object_is_said_in_the_server_s_words_and_the_namespace_goes_again(clusters: Clusters) -> None:
    before = clusters.objects()
    clusters.change(refused=["service/grpc-server-svc3"])
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 1
    said = "  service/grpc-server-svc3: (Invalid): service/grpc-server-svc3 is invalid: spec: denied the request"
    assert done.stderr.splitlines()[-2:] == ["k8s: nothing was changed: 1 refusals", said]
    assert clusters.objects() == before


def _scaled(clusters: Clusters, fields: Object, manager: str) -> None:
    key = "deployment.apps/grpc-server-svc2 grpc-tracing"
    found = clusters.objects()[key]
    found["metadata"]["managedFields"] = [{"manager": manager, "fieldsV1": fields}]
    clusters.change(objects=clusters.objects() | {key: found})


@pytest.mark.full
def test_replicas_that_somebody_else_set_stay(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    _scaled(clusters, {"f:spec": {"f:replicas": {}}}, "kube-controller-manager")
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    sent = {
        one["metadata"]["name"]: one.get("sent", one)["spec"]
        for one in clusters.objects().values()
        if one["kind"] == "Deployment"
    }
    assert "replicas" not in sent["grpc-server-svc2"]
    assert sent["grpc-server-svc1"]["replicas"] == 2


def test_a_variable_that_somebody_set_by_hand_is_told_with_what_takes_it_back(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    variable: Object = {'k:{"name":"TALK_PROPAGATE"}': {".": {}, "f:name": {}, "f:value": {}}}
    container = {'k:{"name":"talk"}': {"f:env": variable}}
    _scaled(clusters, {"f:spec": {"f:template": {"f:spec": {"f:containers": container}}}}, "kubectl-set")
    done = clusters.run("apply", "k8s", *IMAGE)
    assert (
        "k8s: deployment/grpc-server-svc2: kubectl-set has set spec.template.spec.containers.talk.env.TALK_PROPAGATE,"
        " which stays: kubectl set env deployment/grpc-server-svc2 --namespace grpc-tracing --containers=talk"
        " TALK_PROPAGATE-"
    ) in done.stderr.splitlines()


def test_pods_that_cannot_be_made_are_told_at_once_with_the_reason(clusters: Clusters) -> None:
    reason = 'pods "grpc-client-5" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities'
    clusters.change(refuses_pods=reason, not_ready=["grpc-client"])
    done = clusters.run("apply", "k8s", *IMAGE, "--timeout", "60")
    assert done.returncode == 1
    assert f"k8s: grpc-client is not ready (no pod can be made: {reason})" in done.stderr.splitlines()
    assert len([call for call in clusters.calls() if call[1] == "rollout"]) == 1


def test_dry_run_shows_what_would_change_and_changes_nothing(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.forget_calls()
    done = clusters.run("apply", "k8s", *IMAGE, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "# the cluster: 27 objects, none of which would change\n"), done.stderr
    done = clusters.run("apply", "k8s", *IMAGE, "--dry-run", "--with", "lanes")
    assert "# the cluster: 28 objects, with these changes\n" in done.stdout
    assert "+ deployment.apps/grpc-server-svc3-canary\n" in done.stdout
    assert clusters.changes() == []


def test_dry_run_of_what_is_not_there_yet_shows_the_objects_by_server(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    done = clusters.run("apply", "asm", *IMAGE, "--dry-run", **servers)
    assert done.returncode == 0, done.stderr
    mesh, _, data = done.stdout.partition("# the cluster: 15 objects\n")
    assert mesh.startswith("# the mesh: 14 objects\n")
    assert ("kind: VirtualService" in mesh, "kind: Deployment" in mesh) == (True, False)
    assert ("kind: VirtualService" in data, "kind: Deployment" in data) == (False, True)
    assert clusters.changes() == []


def test_status_has_a_line_for_each_workload(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    done = clusters.run("apply", "k8s", "status")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    image = "registry.example/team/grpc-tracing:1.2"
    assert ["grpc-server-svc2", "2/2", "2", image, "otel", "100", "%", "-"] in lines


def test_a_gateway_of_others_that_takes_our_port_is_told(clusters: Clusters) -> None:
    servers = [{"port": {"number": 9999, "protocol": "HTTP"}, "hosts": ["*"]}]
    spec = {"selector": {"istio": "ingressgateway"}, "servers": servers}
    clusters.add("cluster", an_object("networking.istio.io/v1", "Gateway", "old", "shop", spec=spec))
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0
    said = (
        "k8s: warning: the Gateway shop/old is older than ours and takes port 9999 of the ingress gateway for *: calls"
    )
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("ports", [[80], []])
def test_a_gateway_of_others_with_another_port_is_nobody_s_concern(clusters: Clusters, ports: list[int]) -> None:
    servers = [{"port": {"number": port, "protocol": "HTTP"}, "hosts": ["*"]} for port in ports]
    spec = {"selector": {"istio": "ingressgateway"}, "servers": servers}
    clusters.add("cluster", an_object("networking.istio.io/v1", "Gateway", "old", "shop", spec=spec))
    assert "shop/old" not in clusters.run("apply", "k8s", *IMAGE).stderr


def test_an_injector_without_pods_fails_the_check(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + ["discovery.k8s.io/v1"])
    service = {"namespace": "istio-system", "name": "istiod"}
    hook = {"name": "namespace.sidecar-injector.istio.io", "clientConfig": {"service": service}}
    clusters.add("cluster", cluster.PLAIN_ISTIO[0] | {"webhooks": [hook]})
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 1
    said = "the sidecar injector's Service istio-system/istiod has no pod that is ready, so no pod can be made: kubectl"
    assert said in done.stderr
    labels = {"kubernetes.io/service-name": "istiod"}
    slices = an_object("discovery.k8s.io/v1", "EndpointSlice", "istiod-1", "istio-system", metadata={"labels": labels})
    clusters.add("cluster", slices | {"endpoints": [{"conditions": {"ready": True}}]})
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0


def test_swapped_kubeconfigs_are_told_in_a_line(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    swapped = {"KUBECONFIG": servers["MESH_KUBECONFIG"], "MESH_KUBECONFIG": servers["KUBECONFIG"]}
    done = clusters.run("apply", "asm", *IMAGE, **swapped)
    (failed,) = [line for line in done.stderr.splitlines() if ": failed: " in line]
    assert failed == (
        "asm: failed: the cluster serves Istio's kinds and the mesh does not, so KUBECONFIG and MESH_KUBECONFIG are"
        " swapped: exchange them"
    )


def test_the_same_advice_is_given_once(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert len([line for line in done.stderr.splitlines() if "does not serve" in line]) == 1
    assert "no right" not in done.stderr, "a kind that nobody serves is no matter of rights"


def test_the_fix_for_the_label_works_for_the_server_that_is_meant(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    clusters.add("instance", namespace("grpc-tracing"))
    done = clusters.run("apply", "asm", *IMAGE, **servers)
    (failed,) = [line for line in done.stderr.splitlines() if line.startswith("asm: failed: ")]
    command = failed.partition("at the mesh: ")[2]
    assert (
        command
        == "KUBECONFIG=$MESH_KUBECONFIG kubectl label namespace grpc-tracing istio-injection=enabled --overwrite"
    )
    assert clusters.shell(command, **servers).returncode == 0
    assert clusters.run("apply", "asm", *IMAGE, **servers).returncode == 0
    assert "namespace/grpc-tracing " in clusters.objects("ack")


def test_gateway_api_on_asm_is_refused_before_the_wait(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    clusters.change("ack", api_versions=cluster.KUBERNETES + cluster.GATEWAY_API)
    done = clusters.run("apply", "asm", "--overlay", "gateway-api", *IMAGE, **servers)
    assert done.returncode == 1
    assert "asm: failed: ASM starts no gateway for the Gateway API's Gateway" in done.stderr
    assert [call for call in clusters.calls() if call[1] == "rollout"] == []


def test_who_may_not_get_the_namespace_may_still_deploy(clusters: Clusters) -> None:
    clusters.add("cluster", namespace("grpc-tracing", labels={"istio-injection": "enabled"}))
    clusters.change(forbidden=["namespaces"])
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr
    said = "whether grpc-tracing at the cluster asks for sidecars is not known: no right to get the namespace"
    assert f"k8s: warning: {said}" in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("hidden", "kinds"), [("deployments", "Deployments in grpc-tracing"), ("services", "Services in istio-system")]
)
def test_the_test_without_rights_names_the_two_ways_that_need_none(clusters: Clusters, hidden: str, kinds: str) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.change(forbidden=[hidden])
    done = clusters.run("test", "k8s")
    inside = "kubectl exec --namespace grpc-tracing deploy/grpc-client -- python -m client call"
    assert done.returncode == 2
    assert done.stderr == (
        f"k8s: no right to list {kinds} at the cluster: name the ingress with --target HOST:PORT, or call from inside:"
        f" {inside} --target grpc-server-svc1:9996\n"
    )


@pytest.mark.full
def test_the_last_verdict_is_kept_for_status(clusters: Clusters, tmp_path: Path) -> None:
    clusters.add("cluster", ingress_service([80]))
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    with chain(tmp_path) as running:
        clusters.change(forwards={"9999": running.target.rpartition(":")[2]})
        assert clusters.run("test", "k8s", "--json", "--rpc", "Talk").returncode == 0
    lines = clusters.run("apply", "k8s", "status").stdout.splitlines()
    assert [line.split()[7] for line in lines if line.startswith("  grpc-server-svc1 ")] == ["connected,"]
