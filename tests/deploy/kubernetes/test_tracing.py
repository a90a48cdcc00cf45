"""What apply.sh says of the mesh's tracing, and how our own Telemetry fits itself to it."""

from __future__ import annotations

import pytest
import yaml

from deploy.kubernetes import sampling
from deploy.kubernetes.findings import Finding, Target
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl
from deploy.kubernetes.tracing import SVC1, Seen, fitted, rows, table, with_planned
from deploy.kubernetes.tracing_check import of_the_gateway
from tests.deploy.kubernetes.rendering import Object

PROVIDER = {"extensionProviders": [{"name": "otel", "opentelemetry": {"service": "collector.o11y", "port": 4317}}]}
DEFAULT = PROVIDER | {"defaultProviders": {"tracing": ["otel"]}}
CLASSIC = {"enableTracing": True, "defaultConfig": {"tracing": {"zipkin": {"address": "zipkin.o11y:9411"}}}}
OURS = {"app.kubernetes.io/part-of": "grpc-tracing"}


def _telemetry(name: str, where: str, *, ours: bool = False, **entry: object) -> Object:
    metadata = {"name": name, "namespace": where, "labels": OURS if ours else {}}
    return {"kind": "Telemetry", "metadata": metadata, "spec": {"tracing": [entry]}}


PLANNED = [_telemetry("grpc-tracing", "grpc-tracing", ours=True, randomSamplingPercentage=100)]
WITH_STORE = [_telemetry("grpc-tracing", "grpc-tracing", ours=True, providers=[{"name": "grpc-tracing"}])]
ROOT = _telemetry("mesh", "istio-system", randomSamplingPercentage=100)


def _seen(config: Object | None, *telemetries: Object, pilot: float | None = 1.0) -> Seen:
    return Seen(telemetries, sampling.Mesh(config, pilot), [] if config is not None else ["the mesh's configuration"])


def _svc1(objects: list[Object], seen: Seen) -> sampling.Tracing:
    return sampling.tracing(SVC1, "in", with_planned(seen, objects).telemetries, seen.mesh)


def test_on_a_mesh_traced_the_classic_way_we_bring_no_telemetry() -> None:
    seen = _seen(CLASSIC)
    assert _svc1(PLANNED, seen).state == "off"  # what ours would do
    objects, said = fitted(PLANNED, seen)
    assert objects == []
    assert said == "no Telemetry of ours: it would turn off what defaultConfig's zipkin traces"
    assert _svc1(objects, seen).makes_spans


def test_neither_do_we_for_the_trace_store_s_provider_that_the_mesh_lacks() -> None:
    assert fitted(WITH_STORE, _seen(CLASSIC))[0] == []


def test_one_of_ours_that_is_already_there_does_not_hide_the_classic_way() -> None:
    assert fitted(PLANNED, _seen(CLASSIC, *PLANNED))[0] == []


def test_where_the_mesh_has_a_provider_and_no_default_ours_names_it() -> None:
    objects, said = fitted(PLANNED, _seen(PROVIDER))
    assert objects[0]["spec"]["tracing"] == [{"randomSamplingPercentage": 100, "providers": [{"name": "otel"}]}]
    assert said == "our Telemetry names the mesh's provider otel: it has no default"
    assert _svc1(objects, _seen(PROVIDER)).state == "traced"


@pytest.mark.parametrize(
    ("planned", "seen"),
    [
        (PLANNED, _seen(DEFAULT)),
        (PLANNED, _seen(None)),
        (PLANNED, _seen({})),
        (WITH_STORE, _seen(PROVIDER)),
        (PLANNED, _seen(DEFAULT, _telemetry("off", "istio-system", disableSpanReporting=True))),
    ],
    ids=["a default provider", "not readable", "no provider at all", "the overlay's own provider", "turned off"],
)
def test_elsewhere_ours_stays_as_it_is(planned: list[Object], seen: Seen) -> None:
    assert fitted(planned, seen) == (planned, "")


def _of_the_gateway(seen: Seen) -> Finding:
    nobody = Kubectl("the cluster", "none")
    return of_the_gateway(Target("k8s", nobody, nobody, [], Gateway.of_the_mesh("istio-system")), seen)


FINDINGS = [
    (_seen(DEFAULT, ROOT), "ok", "the ingress gateway samples every call, to otel"),
    (_seen(DEFAULT, pilot=100.0), "ok", "the ingress gateway samples every call, to otel"),
    (_seen(DEFAULT), "warning", "the ingress gateway samples 1 % of the calls (provider by defaultProviders"),
    (_seen(DEFAULT, pilot=None), "warning", "what the ingress gateway samples is not known: "),
    (_seen(CLASSIC), "warning", "the ingress gateway samples 1 % of the calls (the classic way, sampling by PILOT_"),
    (_seen({}, ROOT), "warning", "nothing is traced, Telemetry istio-system/mesh names no provider, and the mesh has"),
    (_seen({}), "warning", "nothing is traced, no provider: none is named, and the mesh has no default"),
    (_seen(None, ROOT), "warning", "the ingress gateway samples 100 %; whether spans leave it is not known"),
    (_seen(DEFAULT, _telemetry("a", "istio-system", randomSamplingPercentage=0)), "failed", "samples 0 %"),
    (_seen(DEFAULT, _telemetry("a", "istio-system", disableSpanReporting=True)), "failed", "samples 0 %"),
]


@pytest.mark.parametrize(("seen", "kind", "said"), FINDINGS)
def test_the_check_says_what_the_gateway_does(seen: Seen, kind: str, said: str) -> None:
    found = _of_the_gateway(seen)
    assert (found.kind, said in found.text) == (kind, True), found.text


def _yaml_of(text: str) -> list[Object]:
    """The blocks of two spaces among the lines of a message."""
    blocks, inside = [""], False
    for line in text.splitlines():
        if line.startswith("  "):
            blocks[-1] += f"{line[2:]}\n"
            inside = True
        elif inside:
            blocks, inside = [*blocks, ""], False
    return [yaml.safe_load(block) for block in blocks if block]


def test_the_two_ways_to_name_a_provider_are_enough_by_themselves() -> None:
    by_default, by_telemetry = _yaml_of(_of_the_gateway(_seen({}, ROOT)).text)
    assert _of_the_gateway(_seen(by_default, ROOT)).kind == "ok"
    provider = {"extensionProviders": by_default["extensionProviders"]}
    assert _of_the_gateway(_seen(provider, by_telemetry)).kind == "ok"


@pytest.mark.parametrize("there", [[], [_telemetry("older", "istio-system", randomSamplingPercentage=10)]])
def test_the_telemetry_that_the_warning_gives_makes_it_every_call(there: list[Object]) -> None:
    (advised,) = _yaml_of(_of_the_gateway(_seen(DEFAULT, *there)).text)
    kept = [one for one in there if one["metadata"]["name"] != advised["metadata"]["name"]]
    assert _of_the_gateway(_seen(DEFAULT, *kept, advised)).kind == "ok"
    assert kept == []  # one beside it, which is older, would win


def test_the_classic_way_is_not_told_to_add_a_telemetry_for_that_would_end_it() -> None:
    text = _of_the_gateway(_seen(CLASSIC)).text
    assert "kind: Telemetry" not in text
    assert "set defaultConfig.tracing.sampling: 100 in the mesh's configuration and restart the gateway" in text


def _deployment(name: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": "shop"}
    return {"metadata": metadata, "spec": {"template": {"metadata": {"labels": {"app": name} | labels}, "spec": {}}}}


def test_a_gateway_is_in_the_table_whatever_its_label_says_of_injection() -> None:
    gateway = _deployment("edge", istio="ingressgateway", **{"sidecar.istio.io/inject": "false"})
    assert [row.direction for row in rows([gateway], _seen(DEFAULT))] == ["out"]


def test_the_table_has_a_line_for_each_direction_of_any_workload_with_a_sidecar() -> None:
    own = _telemetry("cart", "shop", match={"mode": "CLIENT"}, randomSamplingPercentage=5)
    own["spec"]["selector"] = {"matchLabels": {"app": "cart"}}
    bare = _deployment("job", **{"sidecar.istio.io/inject": "false"})
    lines = table(list(rows([_deployment("cart"), bare], _seen(DEFAULT, ROOT, own)))).splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["cart", "in", "otel", "100", "%"],
        ["cart", "out", "otel", "5", "%"],
    ]
    assert lines[2].endswith("provider by defaultProviders of the mesh, sampling by Telemetry shop/cart")
