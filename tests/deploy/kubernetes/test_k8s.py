"""apply.sh and test.sh for a cluster, against a stand-in kubectl: what is called, changed, said and left."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.kubernetes.manifests import pod_template
from tests.deploy.kubernetes import cluster
from tests.deploy.kubernetes.cluster import IMAGE, Clusters, an_object, ingress_service, namespace, telemetry
from tests.deploy.kubernetes.rendering import K8S, ROOT, Object, render
from tests.store.support import running_store
from tests.support.processes import chain, runs
from tests.support.waiting import wait_for

OURS = {"app.kubernetes.io/part-of": "grpc-tracing"}


@pytest.fixture
def clusters(tmp_path: Path) -> Clusters:
    return cluster.make(tmp_path)


def ours(objects: dict[str, Object]) -> set[str]:
    """What an overlay puts there: no pods, which come by themselves."""
    return {
        key
        for key, found in objects.items()
        if OURS.items() <= found["metadata"].get("labels", {}).items() and found["kind"] not in ("Pod", "Namespace")
    }


def test_apply_deploys_waits_and_says_each_step(clusters: Clusters) -> None:
    done = clusters.run("apply", "k8s", *IMAGE)
    assert (done.returncode, done.stdout) == (
        0,
        "  ingress      203.0.113.7:9999\n  test it      ./test.sh k8s\n",
    ), done.stderr
    assert done.stderr.splitlines() == [
        "k8s: 28 objects, from the overlay istio",
        "k8s: ok: the cluster answers (v1.32.1, context cluster)",
        "k8s: ok: the cluster serves every kind of object",
        "k8s: ok: the cluster lets you create and change them in grpc-tracing",
        "k8s: ok: the cluster has a sidecar injector",
        "k8s: ok: the ingress gateway opens port 9999",
        "k8s: ok: the ingress gateway samples every call, to otel",
        "k8s: making the namespace grpc-tracing at the cluster",
        "k8s: applying 27 objects to the cluster",
        "k8s: waiting until the pods of 4 Deployments are ready, 180 s at most",
    ]
    assert len(ours(clusters.objects())) == 27


def test_apply_a_second_time_changes_nothing(clusters: Clusters) -> None:
    assert clusters.program("apply", "k8s", *IMAGE).returncode == 0
    before = clusters.state()
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    assert clusters.state() == before


def test_everything_is_applied_server_side_and_nothing_is_forced(clusters: Clusters) -> None:
    clusters.run("apply", "k8s", *IMAGE)
    asked, applied = [call for call in clusters.calls() if call[1] == "apply"]
    assert applied == ["cluster", "apply", "--server-side", "--field-manager=grpc-tracing", "--filename", "-"]
    assert asked == [*applied[:4], "--dry-run=server", *applied[4:]]


def test_the_images_get_the_names_that_were_given(clusters: Clusters) -> None:
    clusters.run("apply", "k8s", "--with", "traces", "--with", "audit", *IMAGE)
    found = {
        one["metadata"]["name"]: pod_template(one)["spec"]["containers"][0]["image"]
        for one in clusters.objects().values()
        if one["kind"] in ("Deployment", "CronJob") and "sent" in one
    }
    name = "registry.example/team/grpc-tracing:1.2"
    services = {f"grpc-server-svc{number}": name for number in (1, 2, 3)}
    assert found == services | dict.fromkeys(("grpc-client", "traces", "audit"), f"{name}-mesh")


def test_without_an_image_it_says_what_to_give(clusters: Clusters) -> None:
    done = clusters.run("apply", "k8s")
    assert done.returncode == 1
    assert done.stderr == (
        "k8s: no image is published: --image REGISTRY/NAME:TAG names yours, --build makes it, --push pushes it there\n"
    )
    assert clusters.changes() == []


def test_an_overlay_of_the_user_s_own_that_names_its_images_needs_no_option(clusters: Clusters, tmp_path: Path) -> None:
    own = _overlay_of_the_user_s(
        tmp_path, "images:\n- {name: grpc-tracing, newName: own/a}\n- {name: grpc-tracing-mesh, newName: own/b}\n"
    )
    done = clusters.run("apply", "k8s", "--overlay", str(own))
    assert done.returncode == 0, done.stderr
    deployment = clusters.objects()["deployment.apps/grpc-server-svc1 grpc-tracing"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "own/a:1.0.0"


def test_an_overlay_that_names_one_of_the_two_images_is_told_to_name_both(clusters: Clusters, tmp_path: Path) -> None:
    own = _overlay_of_the_user_s(tmp_path, "images: [{name: grpc-tracing-mesh, newName: own/b}]\n")
    done = clusters.run("apply", "k8s", "--overlay", str(own), "--build")
    assert (done.returncode, done.stderr) == (
        1,
        "k8s: the overlay names one of the two images itself: name both there, or give --image\n",
    )
    assert clusters.changes() == []


def _overlay_of_the_user_s(folder: Path, more: str) -> Path:
    own = folder / "own"
    own.mkdir()
    up = "../" * (len(own.resolve().parts) - 1)
    istio = str(K8S / "overlays" / "istio").lstrip("/")
    (own / "kustomization.yaml").write_text(f"resources: [{up}{istio}]\n{more}")
    return own


WRONG_USE = [
    (("--overlay", "nowhere", *IMAGE), "no overlay nowhere: --overlay takes ambient, asm, faults, gateway-api, istio"),
    (("--push", *IMAGE), "--push needs --build and --image"),
    (("--sbom", "sbom.json", *IMAGE), "--sbom needs --build: it tells what was built"),
    (("--image", "a@sha256:00"), "a@sha256:00 names a digest: --mesh-image names the other image"),
]


@pytest.mark.parametrize(("options", "said"), WRONG_USE)
def test_wrong_use_is_said_in_a_line_and_changes_nothing(
    clusters: Clusters, options: tuple[str, ...], said: str
) -> None:
    done = clusters.run("apply", "k8s", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert clusters.changes() == []


def test_on_asm_each_server_gets_its_own_objects(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    done = clusters.run("apply", "asm", *IMAGE, **servers)
    assert done.returncode == 0, done.stderr
    kinds = {name: {one.partition("/")[0] for one in ours(clusters.objects(name))} for name in ("ack", "instance")}
    assert kinds["ack"] == {"serviceaccount", "service", "deployment.apps", "poddisruptionbudget.policy"}
    assert kinds["instance"] == {
        "gateway.networking.istio.io",
        "virtualservice.networking.istio.io",
        "destinationrule.networking.istio.io",
        "authorizationpolicy.security.istio.io",
        "peerauthentication.security.istio.io",
        "telemetry.telemetry.istio.io",
    }
    assert all("namespace/grpc-tracing " in clusters.objects(name) for name in ("ack", "instance"))
    assert "docs/asm.md" in done.stdout
    applied = [call[0] for call in clusters.changes() if call[1] == "apply"]
    assert applied == ["instance", "ack"], "the mesh's rules first"


def test_a_mesh_that_the_cluster_serves_needs_one_kubeconfig(clusters: Clusters) -> None:
    assert clusters.run("apply", "asm", *IMAGE).returncode == 0
    assert len(ours(clusters.objects())) == 27


def test_an_overlay_with_nothing_for_one_of_two_servers_leaves_that_one_be(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    for _ in range(2):
        done = clusters.run("apply", "asm", "--overlay", str(K8S / "base"), *IMAGE, **servers)
        assert done.returncode == 0, done.stderr
    assert [call[0] for call in clusters.changes() if call[1] == "apply"] == ["ack", "ack"]


def test_down_where_nobody_serves_kinds_of_ours_still_takes_the_namespace(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    before = clusters.objects("instance")
    assert clusters.run("apply", "asm", "--overlay", str(K8S / "base"), *IMAGE, **servers).returncode == 0
    clusters.change("instance", api_versions=["v1"])
    clusters.change("instance", lacks=["Service", "ServiceAccount"])
    done = clusters.run("apply", "asm", "down", **servers)
    assert done.returncode == 0, done.stderr
    assert clusters.objects("instance") == before


def test_contexts_choose_the_servers_too(clusters: Clusters) -> None:
    cluster.make_asm(clusters)
    done = clusters.run("apply", "asm", *IMAGE, "--context", "ack", "--mesh-context", "instance")
    assert done.returncode == 0, done.stderr
    assert {call[0] for call in clusters.changes()} == {"ack", "instance"}


def test_an_older_mesh_gets_its_own_versions(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.OLDER)
    clusters.add("cluster", telemetry(100) | {"apiVersion": "telemetry.istio.io/v1alpha1"})
    done = clusters.run("apply", "k8s", "--overlay", "older-api", *IMAGE)
    assert done.returncode == 0, done.stderr


def test_the_gateway_api_brings_its_own_gateway(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API)
    done = clusters.run("apply", "k8s", "--overlay", "gateway-api", *IMAGE)
    assert done.returncode == 0, done.stderr
    assert "gateway.gateway.networking.k8s.io/grpc-tracing grpc-tracing" in clusters.objects()
    waited = [call[3] for call in clusters.calls() if call[1] == "rollout"]
    assert waited[-1] == "deployment/grpc-tracing-istio"


@pytest.mark.full
def test_who_may_not_see_the_gateway_api_s_gateway_finds_it_by_its_service(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API)
    assert clusters.run("apply", "k8s", "--overlay", "gateway-api", *IMAGE).returncode == 0
    clusters.change(forbidden=["gateways"])
    done = clusters.run("test", "k8s")
    assert "cannot forward a port to deployment/grpc-tracing-istio" in done.stderr


def test_a_gateway_that_the_mesh_does_not_start_is_told(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API, controls=False)
    done = clusters.run("apply", "k8s", "--overlay", "gateway-api", "--timeout", "1", *IMAGE)
    assert done.returncode == 1
    said = "k8s: the mesh has started nothing for the Gateway grpc-tracing in grpc-tracing: does it serve the"
    assert done.stderr.splitlines()[-1].startswith(said)
    done = clusters.run("test", "k8s")
    assert (done.returncode, done.stderr.startswith(said)) == (2, True), "the mesh's own gateway knows no way to svc1"


@pytest.mark.full
def test_the_test_calls_the_gateway_of_the_gateway_api(clusters: Clusters, tmp_path: Path) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API)
    assert clusters.run("apply", "k8s", "--overlay", "gateway-api", *IMAGE).returncode == 0
    with chain(tmp_path) as running:
        clusters.change(forwards={"9999": running.target.rpartition(":")[2]})
        done = clusters.run("test", "k8s", "--json", "--rpc", "Talk")
    assert done.returncode == 0, done.stderr
    (forwarded,) = [call for call in clusters.calls() if call[1] == "port-forward"]
    assert forwarded[2:] == ["--namespace", "grpc-tracing", "deployment/grpc-tracing-istio", ":9999"]


def test_a_gateway_api_without_grpc_routes_is_found_before_anything_is_changed(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API, lacks=["GRPCRoute"])
    done = clusters.run("apply", "k8s", "--overlay", "gateway-api", *IMAGE)
    assert done.returncode == 1
    said = "does not serve GRPCRoute of gateway.networking.k8s.io/v1: install the Gateway API's definitions, 1.1 or"
    assert said in done.stderr
    assert clusters.changes() == []


LEFTOVERS = [
    ("gateway-api", "authorizationpolicy/grpc-tracing-gateway, gateway/grpc-tracing, grpcroute/grpc-tracing"),
    ("lanes", "deployment/grpc-server-svc3-canary"),
    ("audit", "cronjob/audit, serviceaccount/audit"),
]


@pytest.mark.full
@pytest.mark.parametrize(("component", "left"), LEFTOVERS)
def test_what_is_no_longer_given_is_deleted_and_nothing_of_others(
    clusters: Clusters, component: str, left: str
) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API)
    foreign = an_object("v1", "Service", "theirs", "grpc-tracing", spec={"ports": [{"port": 80}]})
    clusters.add("cluster", foreign)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    before = set(clusters.objects())
    assert clusters.run("apply", "k8s", "--with", component, *IMAGE).returncode == 0
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"k8s: deleted what the objects given no longer have: {left}" in done.stderr.splitlines()
    assert set(clusters.objects()) == before


@pytest.mark.full
def test_components_go_together(clusters: Clusters) -> None:
    done = clusters.run("apply", "k8s", "--with", "traces", "--with", "lanes", *IMAGE)
    assert done.returncode == 0, done.stderr
    assert "objects, from the overlay istio and traces and lanes" in done.stderr
    deployments = {key for key in ours(clusters.objects()) if key.startswith("deployment.apps/")}
    assert {"deployment.apps/traces grpc-tracing", "deployment.apps/grpc-server-svc3-canary grpc-tracing"} < deployments
    telemetry = clusters.objects()["telemetry.telemetry.istio.io/grpc-tracing grpc-tracing"]
    assert telemetry["spec"]["tracing"][0]["providers"] == [{"name": "grpc-tracing"}]


def test_what_is_left_at_the_mesh_of_asm_is_deleted_too(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    assert clusters.run("apply", "asm", *IMAGE, **servers).returncode == 0
    rule = an_object("networking.istio.io/v1", "DestinationRule", "of-old", "grpc-tracing", metadata={"labels": OURS})
    clusters.add("instance", rule)
    done = clusters.run("apply", "asm", *IMAGE, **servers)
    assert done.returncode == 0, done.stderr
    assert "asm: deleted what the objects given no longer have: destinationrule/of-old" in done.stderr.splitlines()
    assert not [key for key in clusters.objects("instance") if "of-old" in key]


@pytest.mark.full
def test_what_a_controller_made_of_ours_is_no_leftover(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    metadata = {"labels": OURS, "ownerReferences": [{"kind": "Gateway", "name": "grpc-tracing"}]}
    clusters.add("cluster", an_object("v1", "Service", "grpc-tracing-istio", "grpc-tracing", metadata=metadata))
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0


def test_on_a_mesh_traced_the_classic_way_our_telemetry_stays_away_and_one_of_ours_goes(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    _without("mesh-default")(clusters)
    clusters.add("cluster", cluster.mesh_config("defaultConfig: {tracing: {zipkin: {address: 'zipkin:9411'}}}\n"))
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr
    assert "k8s: ok: no Telemetry of ours: it would turn off what defaultConfig's zipkin traces" in done.stderr
    assert "telemetry.telemetry.istio.io/grpc-tracing grpc-tracing" not in clusters.objects()


def test_check_shows_who_traces_and_changes_nothing(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.forget_calls()
    done = clusters.run("apply", "k8s", "check")
    assert (done.returncode, clusters.changes()) == (0, []), done.stderr
    lines = [line.split()[:5] for line in done.stdout.splitlines()]
    assert ["istio-ingressgateway", "out", "otel", "100", "%"] in lines
    assert ["grpc-server-svc2", "in", "otel", "100", "%"] in lines


def test_check_without_istio_says_so_in_a_line(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES)
    done = clusters.run("apply", "k8s", "check", "--namespace", "shop")
    assert (done.returncode, done.stdout) == (1, "")
    said = "k8s: the cluster serves no Telemetry: is it the mesh's API server, and is Istio installed?\n"
    assert done.stderr.replace("the mesh serves", "the cluster serves") == said


def test_the_overlay_traces_prints_what_the_mesh_s_administrator_has_to_add(clusters: Clusters) -> None:
    done = clusters.run("apply", "k8s", "--overlay", "traces", *IMAGE)
    assert done.returncode == 0
    assert "extensionProviders:\n" in done.stderr
    assert "service: traces.grpc-tracing.svc.cluster.local\n" in done.stderr
    assert "kind: Telemetry\n" in done.stderr.partition("for the ingress gateway:")[2]
    assert "kubectl port-forward --namespace grpc-tracing deployment/traces 16686" in done.stdout
    assert not [call for call in clusters.changes() if "istio-system" in call]


def _silent(clusters: Clusters) -> None:
    clusters.change(answers=False)


def _denied(clusters: Clusters) -> None:
    clusters.change(denied=["create deployments.apps", "patch gateways.networking.istio.io"])


def _no_namespace(clusters: Clusters) -> None:
    clusters.change(denied=["create namespaces"])


def _older(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.OLDER)


def _no_istio(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES)


def _injection_off(clusters: Clusters) -> None:
    clusters.add("cluster", namespace("grpc-tracing"))


def _injection_disabled(clusters: Clusters) -> None:
    clusters.add("cluster", namespace("grpc-tracing", labels={"istio-injection": "disabled", "istio.io/rev": "1-26"}))


def _without(*names: str) -> Callable[[Clusters], None]:
    def change(clusters: Clusters) -> None:
        kept = {key: found for key, found in clusters.objects().items() if found["metadata"]["name"] not in names}
        clusters.change(objects=kept)

    return change


def _sampling_0(clusters: Clusters) -> None:
    clusters.add("cluster", telemetry(0))


def _no_right_to_see_the_namespace(clusters: Clusters) -> None:
    clusters.change(forbidden=["namespaces"])


def _spans_disabled(clusters: Clusters) -> None:
    clusters.add("cluster", telemetry(100, tracing=[{"disableSpanReporting": True}]))


FAILED_CHECKS = [
    (_silent, "the cluster does not answer (The connection to the server 127.0.0.1:6443 was refused"),
    (
        _denied,
        "the cluster does not let you create deployments, patch gateways in grpc-tracing: ask for a role that does",
    ),
    (_no_namespace, "the cluster does not let you create namespaces in grpc-tracing"),
    (_older, f"does not serve {', '.join(cluster.ISTIO)}: it has older versions of them, so give --overlay older-api"),
    (_no_istio, "security.istio.io/v1, telemetry.istio.io/v1: is this the mesh's API server? Name its kubeconfig in"),
    (_injection_off, "injection is off in grpc-tracing at the cluster: kubectl label namespace grpc-tracing istio-inj"),
    (_injection_disabled, "sidecar injection is off in grpc-tracing"),
    (_without("istio-sidecar-injector"), "the cluster has no sidecar injector"),
    (_without("istio-ingressgateway"), "no Service in istio-system selects pods with the label istio=ingressgateway"),
    (_sampling_0, "the ingress gateway samples 0 %, so no call would have a trace (provider by"),
    (_spans_disabled, "the ingress gateway samples 0 %"),
]


@pytest.mark.parametrize(("plant", "said"), FAILED_CHECKS)
def test_a_failed_check_says_what_to_do_and_nothing_is_changed(clusters: Clusters, plant: object, said: str) -> None:
    assert callable(plant)
    plant(clusters)
    before = clusters.state()
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.startswith("k8s: failed: ")]
    assert any(said in line for line in failed), done.stderr
    assert "nothing was changed" in done.stderr.splitlines()[-1]
    assert clusters.changes() == []
    assert clusters.state() == before


def test_all_failed_checks_are_said_at_once(clusters: Clusters) -> None:
    _denied(clusters)
    _sampling_0(clusters)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.stderr.splitlines()[-1] == "k8s: nothing was changed: 2 of 6 checks failed"


def _nothing_of_istio(clusters: Clusters) -> None:
    _no_istio(clusters)
    _without("istio-ingressgateway", "istio-sidecar-injector", "istio")(clusters)


@pytest.mark.parametrize("plant", [_nothing_of_istio, _older])
def test_a_mesh_that_is_not_there_or_older_is_one_line(clusters: Clusters, plant: Callable[[Clusters], None]) -> None:
    plant(clusters)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert len([line for line in done.stderr.splitlines() if "failed: " in line or "warning: " in line]) == 1, (
        done.stderr
    )
    assert clusters.changes() == []


def test_a_silent_mesh_is_told_from_a_silent_cluster(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    clusters.change("instance", answers=False)
    done = clusters.run("apply", "asm", *IMAGE, **servers)
    assert done.returncode == 1
    assert "failed: the mesh does not answer" in done.stderr
    assert "see MESH_KUBECONFIG" in done.stderr
    assert clusters.changes() == []


def _closed(clusters: Clusters) -> None:
    clusters.add("cluster", ingress_service([15021, 80, 443], ip="203.0.113.7"))


def _sampling_1(clusters: Clusters) -> None:
    _without("mesh-default")(clusters)


def _sampling_of_the_mesh(clusters: Clusters) -> None:
    _without("mesh-default")(clusters)
    clusters.add("cluster", cluster.mesh_config(f"{cluster.PROVIDER}defaultConfig: {{tracing: {{sampling: 25}}}}\n"))


def _sampling_elsewhere(clusters: Clusters) -> None:
    _without("mesh-default")(clusters)
    elsewhere = {"selector": {"matchLabels": {"app": "other"}}}
    clusters.add("cluster", telemetry(100, **elsewhere))


def _no_right_to_look(clusters: Clusters) -> None:
    clusters.change(forbidden=["mutatingwebhookconfigurations"])


def _no_right_to_see_the_gateway(clusters: Clusters) -> None:
    clusters.change(forbidden=["services istio-system"])


@pytest.mark.full
def test_a_kind_that_may_not_be_listed_hides_no_other(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", "--with", "lanes", *IMAGE).returncode == 0
    clusters.change(forbidden=["poddisruptionbudgets"])
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr
    said = "no right to list poddisruptionbudgets.policy at the cluster: what an earlier apply left there stays"
    assert f"k8s: {said}" in done.stderr.splitlines()
    assert "deployment.apps/grpc-server-svc3-canary grpc-tracing" not in clusters.objects()


WARNINGS = [
    (_no_right_to_see_the_gateway, "the ingress gateway could not be seen: no right to look at Services in"),
    (_closed, "the ingress gateway's Service istio-ingressgateway does not open port 9999, so test.sh forwards one"),
    (_sampling_1, "the ingress gateway samples 1 % of the calls"),
    (_sampling_of_the_mesh, "the ingress gateway samples 25 % of the calls"),
    (_sampling_elsewhere, "the ingress gateway samples 1 % of the calls"),
    (
        _without("mesh-default", "istio"),
        "what the ingress gateway samples is not known: the mesh's configuration (ConfigMap",
    ),
    (
        _without("istio"),
        "the ingress gateway samples 100 %; whether spans leave it is not known: the mesh's",
    ),
    (_no_right_to_look, "whether the cluster has a sidecar injector could not be seen: no right to look"),
]


@pytest.mark.parametrize(("plant", "said"), WARNINGS)
def test_what_can_be_worked_around_is_a_warning(clusters: Clusters, plant: object, said: str) -> None:
    assert callable(plant)
    plant(clusters)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"k8s: warning: {said}" in done.stderr


@pytest.mark.full
def test_a_gateway_that_may_not_be_seen_is_named_to_the_test(clusters: Clusters, tmp_path: Path) -> None:
    _no_right_to_see_the_gateway(clusters)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert "ask for its address, and give it to the test with --target" in done.stdout
    with chain(tmp_path) as running:
        for option in (("--target", running.target), (f"--target={running.target}",)):
            done = clusters.run("test", "k8s", "--json", "--rpc", "Talk", *option)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("place", "fix"),
    [("k8s", "kubectl patch service istio-ingressgateway --namespace istio-system"), ("asm", "istiogateways")],
)
def test_a_closed_port_comes_with_the_lasting_fix(clusters: Clusters, place: str, fix: str) -> None:
    _closed(clusters)
    done = clusters.run("apply", place, *IMAGE)
    assert fix in done.stderr
    assert "no address from outside: test.sh forwards a port" in done.stdout


ADDRESSES = [
    ({"ip": "203.0.113.7"}, "203.0.113.7:9999"),
    ({"hostname": "nlb-1.example.com"}, "nlb-1.example.com:9999"),
    ({"ip": "2001:db8::7"}, "[2001:db8::7]:9999"),
    ({}, "no address from outside: test.sh forwards a port"),
]


@pytest.mark.parametrize(("balancer", "said"), ADDRESSES)
def test_the_ingress_address_is_an_ip_a_host_name_or_none(
    clusters: Clusters, balancer: dict[str, str], said: str
) -> None:
    clusters.add("cluster", ingress_service([80, 9999], **balancer))
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.stdout.splitlines()[0] == f"  ingress      {said}"


def test_pods_that_do_not_get_ready_are_shown_with_their_last_events_and_log_lines(clusters: Clusters) -> None:
    pod = "grpc-server-svc2-0"
    events = [
        an_object(
            "v1",
            "Event",
            f"e{number}",
            "grpc-tracing",
            involvedObject={"name": name},
            reason="Unhealthy",
            message=f"probe {number} failed",
            lastTimestamp=f"2026-01-01T00:00:0{number}Z",
        )
        for number, name in enumerate(["other", *[pod] * 6])
    ]
    clusters.add("cluster", *events)
    clusters.change(not_ready=["grpc-server-svc2"], logs={pod: ["TALK_NEXT_HOP: no \x1b[2J\u202etarget"]})
    done = clusters.run("apply", "k8s", *IMAGE, "--timeout", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-8:] == [
        "k8s: grpc-server-svc2 is not ready (error: timed out waiting for the condition)",
        f"  pod {pod}:",
        *[f"  event Unhealthy: probe {number} failed" for number in (2, 3, 4, 5, 6)],
        rf"  log [pod/{pod}/talk] TALK_NEXT_HOP: no \x1b[2J\u202etarget",
    ]


def test_pods_without_a_sidecar_are_found_after_the_rollout(clusters: Clusters) -> None:
    clusters.change(injects=False)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 1
    assert "grpc-client-0 has no sidecar: see that the mesh injects into grpc-tracing" in done.stderr
    assert "kubectl rollout restart deployment --namespace grpc-tracing" in done.stderr


def test_a_pod_that_is_on_its_way_out_needs_no_sidecar(clusters: Clusters) -> None:
    metadata = {"labels": OURS, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    going = an_object("v1", "Pod", "of-old", "grpc-tracing", metadata=metadata, spec={"containers": []})
    clusters.add("cluster", namespace("grpc-tracing", labels={"istio-injection": "enabled"}), going)
    done = clusters.run("apply", "k8s", *IMAGE)
    assert done.returncode == 0, done.stderr


def test_the_time_to_get_ready_is_one_for_all_deployments(clusters: Clusters) -> None:
    clusters.change(rollout_takes=0.5)
    assert clusters.run("apply", "k8s", *IMAGE, "--timeout", "3").returncode == 0
    given = [call[-1] for call in clusters.calls() if call[1] == "rollout"]
    assert given == sorted(given, reverse=True)
    assert (given[0], len(given)) == ("--timeout=3s", 4)
    assert given[-1] < given[0]


@pytest.mark.parametrize("overlay", ["istio", "traces", "lanes", "faults"])
def test_down_leaves_nothing_of_ours_and_touches_no_other(clusters: Clusters, overlay: str) -> None:
    before = clusters.objects()
    assert clusters.run("apply", "k8s", "--overlay", overlay, *IMAGE).returncode == 0
    assert clusters.objects() != before
    done = clusters.run("apply", "k8s", "down")
    assert done.returncode == 0, done.stderr
    assert clusters.objects() == before
    count = len(render(K8S / "overlays" / overlay)) - 1  # the namespace is said by itself
    assert done.stderr.splitlines() == [
        f"k8s: deleted {count} objects of ours at the cluster",
        "k8s: deleted the namespace grpc-tracing at the cluster",
    ]


def test_down_clears_both_servers_of_asm(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    before = [clusters.objects(name) for name in ("ack", "instance")]
    assert clusters.run("apply", "asm", *IMAGE, **servers).returncode == 0
    assert clusters.run("apply", "asm", "down", **servers).returncode == 0
    assert [clusters.objects(name) for name in ("ack", "instance")] == before


def test_every_deletion_names_our_label_and_our_namespace(clusters: Clusters) -> None:
    clusters.run("apply", "k8s", *IMAGE)
    clusters.forget_calls()
    clusters.run("apply", "k8s", "down")
    deletions = clusters.changes()
    assert deletions.pop()[1:] == ["delete", "namespace", "grpc-tracing", "--timeout=120s"]
    assert deletions
    for call in deletions:
        assert call[3:7] == ["--namespace", "grpc-tracing", "--selector", "app.kubernetes.io/part-of=grpc-tracing"]
        assert call[-1] == "--timeout=120s"


def test_a_namespace_that_was_there_before_stays_and_is_not_touched(clusters: Clusters) -> None:
    theirs = namespace("grpc-tracing", labels={"istio-injection": "enabled", "team": "theirs"})
    clusters.add("cluster", theirs)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    assert clusters.objects()["namespace/grpc-tracing "] == theirs
    done = clusters.run("apply", "k8s", "down")
    assert "the namespace grpc-tracing stays at the cluster: apply.sh did not make it" in done.stderr
    assert clusters.objects()["namespace/grpc-tracing "] == theirs
    assert ours(clusters.objects()) == set()


def test_our_namespace_stays_when_something_of_somebody_else_s_has_moved_in(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    theirs = [
        an_object("v1", "ConfigMap", "kube-root-ca.crt", "grpc-tracing"),
        an_object("v1", "ServiceAccount", "default", "grpc-tracing"),
        an_object("apps/v1", "Deployment", "theirs", "grpc-tracing", spec={}),
        an_object("v1", "Service", "grpc-server-svc1-of-theirs", "grpc-tracing", spec={}),
    ]
    clusters.add("cluster", *theirs)
    done = clusters.run("apply", "k8s", "down")
    assert done.returncode == 0
    assert "stays at the cluster: it holds deployment/theirs, service/grpc-server-svc1-of-theirs" in done.stderr
    left = {key for key, found in clusters.objects().items() if found["metadata"].get("namespace") == "grpc-tracing"}
    assert len(left) == len(theirs)


def test_down_goes_on_where_somebody_s_api_does_not_answer(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.change(broken_api=True)
    done = clusters.run("apply", "k8s", "down")
    assert done.returncode == 0, done.stderr
    assert ours(clusters.objects()) == set()
    assert "k8s: the namespace grpc-tracing stays: whether it is empty could not be seen" in done.stderr


def test_down_goes_on_where_one_kind_cannot_be_deleted_and_says_so_at_the_end(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    assert clusters.run("apply", "asm", *IMAGE, **servers).returncode == 0
    clusters.change("ack", stuck=["deployment.apps/grpc-server-svc1"])
    done = clusters.run("apply", "asm", "down", **servers)
    assert done.returncode == 1
    assert ours(clusters.objects("instance")) == set()
    assert {key.partition("/")[0] for key in ours(clusters.objects("ack"))} == {"deployment.apps"}
    said = "kubectl delete deployments.apps failed at the cluster: error: timed out waiting for the condition"
    assert done.stderr.splitlines()[-2:] == [
        "asm: not all of ours could be deleted:",
        f"  {said} on deployment.apps/grpc-server-svc1",
    ]


def test_down_with_the_rights_that_were_enough_for_apply_needs_no_others(clusters: Clusters) -> None:
    clusters.change(api_versions=cluster.KUBERNETES + cluster.ISTIO + cluster.GATEWAY_API)
    kinds = ("grpcroutes.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io")
    clusters.change(
        forbidden=["grpcroutes"], denied=[f"{verb} {kind}" for verb in ("list", "create") for kind in kinds]
    )
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    done = clusters.run("apply", "k8s", "down")
    assert done.returncode == 0, done.stderr
    assert ours(clusters.objects()) == set()
    said = "k8s: no right to list grpcroutes.gateway.networking.k8s.io at the cluster: any of ours stay\n"
    assert done.stderr.startswith(said)


def test_down_without_the_right_to_list_what_one_may_make_says_that_it_stays(clusters: Clusters) -> None:
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    clusters.change(forbidden=["serviceaccounts"], denied=["list serviceaccounts"])
    done = clusters.run("apply", "k8s", "down")
    assert done.returncode == 1
    assert {key.partition("/")[0] for key in ours(clusters.objects())} == {"serviceaccount"}
    said = "  no right to list serviceaccounts at the cluster: any of ours stay"
    assert done.stderr.splitlines()[-2:] == ["k8s: not all of ours could be deleted:", said]


def test_down_with_nothing_there_says_so(clusters: Clusters) -> None:
    done = clusters.run("apply", "k8s", "down")
    assert (done.returncode, done.stderr) == (0, "k8s: nothing of ours at the cluster\n")


def test_down_with_a_silent_server_deletes_nothing_on_the_other(clusters: Clusters) -> None:
    servers = cluster.make_asm(clusters)
    assert clusters.run("apply", "asm", *IMAGE, **servers).returncode == 0
    clusters.change("instance", answers=False)
    clusters.forget_calls()
    done = clusters.run("apply", "asm", "down", **servers)
    assert done.returncode == 1
    assert "nothing was deleted: the mesh does not answer" in done.stderr
    assert clusters.changes() == []


def test_without_kubectl_it_names_what_to_install(clusters: Clusters, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for action, code in (("apply", 1), ("test", 2)):
        done = clusters.run(action, "k8s", PATH=str(empty))
        assert done.returncode == code
        assert done.stderr.startswith("k8s: kubectl is not installed: install it, 1.28 or later")


def test_the_test_with_nothing_deployed_exits_2_and_says_what_deploys_it(clusters: Clusters) -> None:
    done = clusters.run("test", "k8s")
    assert (done.returncode, done.stderr) == (2, "k8s: nothing is deployed: ./apply.sh k8s deploys it\n")


def test_the_test_of_a_silent_cluster_says_so(clusters: Clusters) -> None:
    _silent(clusters)
    done = clusters.run("test", "k8s")
    assert done.returncode == 2
    assert "the cluster does not answer" in done.stderr


def test_the_test_calls_the_load_balancer_s_address(clusters: Clusters, tmp_path: Path) -> None:
    host = "127.0.0.77"  # this machine's too, and its port 9999 is nobody's
    clusters.add("cluster", ingress_service([9999], ip=host))
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    with chain(tmp_path, svc1={"listen": f"{host}:9999"}):
        done = clusters.run("test", "k8s", "--json")
    assert done.returncode == 0, done.stderr
    assert (found := json.loads(done.stdout))["verdict"] == "connected"
    assert found["target"] == f"{host}:9999"
    assert len(found["calls"]) == 4


@pytest.mark.full
def test_the_test_forwards_a_port_where_there_is_no_address(clusters: Clusters, tmp_path: Path) -> None:
    _closed(clusters)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    with chain(tmp_path) as running:
        clusters.change(forwards={"9999": running.target.rpartition(":")[2]})
        done = clusters.run("test", "k8s", "--json", "--rpc", "Talk")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == running.target
    (forwarded,) = [call for call in clusters.calls() if call[1] == "port-forward"]
    assert forwarded[2:] == ["--namespace", "istio-system", "deployment/istio-ingressgateway", ":9999"]


def test_cut_short_by_sigterm_it_leaves_no_forwarded_port(clusters: Clusters, tmp_path: Path) -> None:
    _closed(clusters)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    with chain(tmp_path) as running:
        clusters.change(forwards={"9999": running.target.rpartition(":")[2]})
        command = [sys.executable, "-m", "deploy", "test", "k8s", "--repeat", "10000"]
        with subprocess.Popen(command, cwd=ROOT, env=clusters.environment, stderr=subprocess.DEVNULL) as process:
            children = wait_for(lambda: _both(process.pid), "a port is forwarded, and calls are made", timeout=30)
            process.terminate()
            assert process.wait(20) == 143
        wait_for(lambda: not any(runs(child.pid) for child in children), "they end with it")


def _both(pid: int) -> list[psutil.Process]:
    """kubectl and the requester."""
    children = psutil.Process(pid).children()
    return children if len(children) == 2 else []


def test_a_port_that_cannot_be_forwarded_is_said_in_kubectl_s_words(clusters: Clusters) -> None:
    _closed(clusters)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    done = clusters.run("test", "k8s")
    assert done.returncode == 2
    assert "cannot forward a port to deployment/istio-ingressgateway: error: unable to forward port" in done.stderr


@pytest.mark.full
def test_the_test_reads_the_traces_through_forwarded_ports(clusters: Clusters, tmp_path: Path) -> None:
    _closed(clusters)
    assert clusters.run("apply", "k8s", "--overlay", "traces", *IMAGE).returncode == 0
    with chain(tmp_path) as running, running_store() as store:
        ports = {"9999": running.target, "16686": store.http, "4318": store.otlp_http}
        clusters.change(forwards={port: address.rpartition(":")[2] for port, address in ports.items()})
        done = clusters.run("test", "k8s", "--json", "--rpc", "Talk")
    (call,) = json.loads(done.stdout)["calls"]
    assert call["spans"] == 1, "the requester's own: nothing else traces here"


@pytest.mark.full
def test_the_test_s_exit_code_is_the_requester_s(clusters: Clusters, tmp_path: Path) -> None:
    _closed(clusters)
    assert clusters.run("apply", "k8s", *IMAGE).returncode == 0
    with chain(tmp_path, svc2={"propagate": "none"}) as running:
        clusters.change(forwards={"9999": running.target.rpartition(":")[2]})
        done = clusters.run("test", "k8s", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "broken"
