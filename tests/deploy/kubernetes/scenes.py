"""Combinations of mesh configuration and Telemetry objects, with what a real istiod makes of each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.kubernetes.sampling import Mesh, Tracing, Workload
from tests.deploy.kubernetes.rendering import ROOT, Object

GATEWAY = Workload("istio-system", {"istio": "ingressgateway", "app": "istio-ingressgateway"}, "gateway")
SVC2 = Workload("grpc-tracing", {"app": "grpc-server-svc2", "version": "v1"})
_STORE: Object = {"service": "traces.grpc-tracing.svc.cluster.local", "port": 4317}
_DYNATRACE: Object = {
    "tenant": "t",
    "clusterId": 1,
    "httpService": {"service": _STORE["service"], "port": 4318, "http": {"path": "/", "timeout": "1s"}},
}
PROVIDERS: list[Object] = [
    {"name": "grpc-tracing", "opentelemetry": {"service": "traces.grpc-tracing.svc.cluster.local", "port": 4317}},
    {"name": "zip", "zipkin": {"service": "traces.grpc-tracing.svc.cluster.local", "port": 4318}},
]


def pushed(found: Tracing) -> str | None:
    """As sampling.json writes it."""
    if found.state == "off":
        return None
    assert found.percentage is not None
    return f"{found.kind if found.state == 'traced' else 'no provider'} {found.percentage:g}%"


def real_scenes() -> list[dict[str, Any]]:
    path = Path(os.environ.get("TALK_ISTIO_SAMPLING", ROOT.parent / "shared" / "istio" / "sampling.json"))
    scenes: list[dict[str, Any]] = json.loads(path.read_text())["scenes"] if path.exists() else []
    return scenes


def aged(telemetry: Object) -> Object:
    second = f"2026-01-01T00:00:{telemetry['created']:02d}Z"
    return telemetry | {"metadata": telemetry["metadata"] | {"creationTimestamp": second}}


def mesh_of(scene: dict[str, Any]) -> Mesh:
    return Mesh({"extensionProviders": PROVIDERS, "defaultConfig": scene["defaultConfig"]} | scene["mesh"])


def a_telemetry(name: str, *entries: Object, where: str = "istio-system", age: int = 0, **spec: Any) -> Object:
    """age: seconds by which it is younger than the first."""
    metadata = {"name": name, "namespace": where, "creationTimestamp": f"2026-01-01T00:00:{age:02d}Z"}
    return {"kind": "Telemetry", "metadata": metadata, "spec": ({"tracing": list(entries)} if entries else {}) | spec}


def sampled(percentage: float, **more: Any) -> dict[str, Any]:
    return {"randomSamplingPercentage": percentage, **more}


def by(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


OURS = "grpc-tracing"
DEFAULT = {"defaultProviders": {"tracing": ["grpc-tracing"]}}
FOR_SVC2: Object = {"selector": {"matchLabels": {"app": "grpc-server-svc2"}}}
API_GATEWAY = Workload(OURS, {"gateway.networking.k8s.io/gateway-name": "grpc-tracing"}, "gateway")
WAYPOINT = Workload(OURS, {"gateway.networking.k8s.io/gateway-name": "waypoint"}, "waypoint")


def _target(name: str) -> Object:
    return {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]}


@dataclass(frozen=True)
class Scene:
    """because: the sentence of Istio's documentation, or the place in its source, that the expectation rests on."""

    name: str
    because: str
    expected: dict[str, str | None]
    telemetries: tuple[Object, ...] = ()
    mesh: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT))
    pilot: float = 1.0
    proxy_config: dict[str, Any] = field(default_factory=dict)
    workload: Workload = SVC2


def _both(said: str | None) -> dict[str, str | None]:
    return {"in": said, "out": said}


_HIERARCHY = "reference/config/telemetry: 1. Workload-specific 2. Namespace-specific 3. Root namespace configuration"
_FIELDS = "tasks/observability/telemetry: fields of the namespace's override the field from the parent configuration"
_ONE_WIDE = "telemetry.go, namespaceWideTelemetryConfig: returns the first without selector or targetRefs, by age"
_ORDER = "tracing.go: provider.sampler > telemetry.RandomSamplingPercentage > defaultConfig.tracing.sampling > PILOT_…"
_FIRST = "telemetry.go, Tracing: choosing the first provider returned in the list"
_NO_PROVIDER = "telemetry.go, Tracing: if no provider is configured (and retrieved), the configuration is disabled"
_FOLD = "telemetry.go, fetchProvider: strings.EqualFold"
_LEGACY = "tracing.go: if there is no telemetry config defined, fallback to legacy mesh config"
_MATCHER = "policyattachment.go, ShouldAttachPolicy"
_CLIENT_SIDE = "tracing.go: SidecarOutbound and Gateway take ClientSpec, SidecarInbound takes ServerSpec"
_KIND = "tracing.go, configureFromProviderConfig: provider does not support tracing"
_UNSET = "tracing.go, proxyConfigSamplingValue: Sampling != 0.0, and above 100 it is 1"
_ANNOTATION = "tracing.go: proxy.Metadata.ProxyConfigOrDefault(push.Mesh.DefaultConfig)"

SCENES = (
    Scene("workload over namespace over root", _HIERARCHY, _both("opentelemetry 5%"), (
        a_telemetry("root", sampled(50)), a_telemetry("ns", sampled(20), where=OURS),
        a_telemetry("own", sampled(5), where=OURS, **FOR_SVC2))),
    Scene("the root's provider stays where the namespace sets a percentage alone", _FIELDS, _both("zipkin 20%"), (
        a_telemetry("root", sampled(50, providers=by("zip"))), a_telemetry("ns", sampled(20), where=OURS))),
    Scene("the root's percentage stays where the namespace names a provider alone", _FIELDS, _both("zipkin 50%"), (
        a_telemetry("root", sampled(50)), a_telemetry("ns", {"providers": by("zip")}, where=OURS))),
    Scene("an older one for metrics hides a younger one for tracing", _ONE_WIDE, _both("opentelemetry 1%"), (
        a_telemetry("m", where=OURS, metrics=[{}]), a_telemetry("a", sampled(100), where=OURS, age=1))),
    Scene("of two in our namespace the older counts, whatever its name", _ONE_WIDE, _both("opentelemetry 30%"), (
        a_telemetry("z", sampled(30), where=OURS), a_telemetry("a", sampled(100), where=OURS, age=1))),
    Scene("of the same age the name decides", _ONE_WIDE, _both("opentelemetry 40%"), (
        a_telemetry("b", sampled(100), where=OURS), a_telemetry("a", sampled(40), where=OURS))),
    Scene("an empty selector selects nothing in particular", _ONE_WIDE, _both("opentelemetry 60%"), (
        a_telemetry("a", sampled(60), where=OURS, selector={"matchLabels": {}}),)),
    Scene("a selector in the root namespace does not reach other namespaces",
        "tasks/observability/telemetry: a selector in the root namespace will be ignored", _both("opentelemetry 1%"),
        (a_telemetry("a", sampled(100), **FOR_SVC2),)),
    Scene("a Telemetry of another namespace is nobody's here", _HIERARCHY, _both("opentelemetry 1%"),
        (a_telemetry("a", sampled(100), where="other"),)),
    Scene("a selector wants all its labels", _MATCHER, _both("opentelemetry 1%"), (
        a_telemetry("a", sampled(0), where=OURS,
            selector={"matchLabels": {"app": "grpc-server-svc2", "version": "canary"}}),)),
    Scene("mode SERVER holds for calls that come in", _CLIENT_SIDE,
        {"in": "opentelemetry 70%", "out": "opentelemetry 1%"},
        (a_telemetry("a", sampled(70, match={"mode": "SERVER"}), where=OURS),)),
    Scene("mode CLIENT holds for calls that go out", _CLIENT_SIDE,
        {"in": "opentelemetry 1%", "out": "opentelemetry 70%"},
        (a_telemetry("a", sampled(70, match={"mode": "CLIENT"}), where=OURS),)),
    Scene("of several entries the last that fits wins", "telemetry.go, Tracing: for _, m := range ct.Tracing",
        _both("opentelemetry 9%"), (a_telemetry("a", sampled(80), sampled(9), where=OURS),)),
    Scene("reporting off for one side alone", "reference: disableSpanReporting controls span reporting, by match.mode",
        {"in": None, "out": "opentelemetry 1%"},
        (a_telemetry("a", {"disableSpanReporting": True, "match": {"mode": "SERVER"}}, where=OURS),)),
    Scene("false in the namespace takes back the root's disableSpanReporting", _FIELDS, _both("opentelemetry 1%"), (
        a_telemetry("root", {"disableSpanReporting": True}),
        a_telemetry("a", {"disableSpanReporting": False}, where=OURS))),
    Scene("a list of providers is its first", _FIRST, _both("zipkin 1%"),
        (a_telemetry("a", {"providers": by("zip", "grpc-tracing")}, where=OURS),)),
    Scene("the default providers are their first", _FIRST, _both("zipkin 1%"),
        mesh={"defaultProviders": {"tracing": ["zip", "grpc-tracing"]}}),
    Scene("a default provider that nothing defines", _NO_PROVIDER, _both(None),
        mesh={"defaultProviders": {"tracing": ["nope"]}}),
    Scene("an undefined provider is not replaced by the default", _NO_PROVIDER, _both(None),
        (a_telemetry("a", {"providers": by("nope")}, where=OURS),)),
    Scene("providers by a name in another case", _FOLD, _both("zipkin 1%"),
        (a_telemetry("a", {"providers": by("ZIP")}, where=OURS),)),
    Scene("a provider that only logs", _KIND, _both(None), (a_telemetry("a", {"providers": by("log")}, where=OURS),),
        mesh={"extensionProviders": [{"name": "log", "envoyFileAccessLog": {"path": "/dev/stdout"}}]}),
    Scene("an entry without fields counts as a Telemetry with tracing", _NO_PROVIDER, _both(None),
        (a_telemetry("a", {}, where=OURS),), mesh={"enableTracing": True}),
    Scene("a Telemetry about metrics alone leaves the classic way as it is", _LEGACY, _both("no provider 1%"),
        (a_telemetry("a", where=OURS, metrics=[{}]),), mesh={"enableTracing": True}),
    Scene("enableTracing false, and nothing else", _LEGACY, _both(None), mesh={"enableTracing": False}),
    Scene("enableTracing false does not matter beside a default provider", _LEGACY, _both("opentelemetry 1%"),
        mesh=DEFAULT | {"enableTracing": False}),
    Scene("the provider's own sampler decides", _ORDER, _both("opentelemetry 100%"),
        (a_telemetry("a", sampled(3), where=OURS),),
        mesh=DEFAULT | {"extensionProviders": [
            {"name": "grpc-tracing", "opentelemetry": _STORE | {"dynatraceSampler": _DYNATRACE}}]}),
    Scene("PILOT_TRACE_SAMPLING is the last resort", _ORDER, _both("opentelemetry 100%"), pilot=100.0),
    Scene("defaultConfig goes over PILOT_TRACE_SAMPLING", _ORDER, _both("opentelemetry 7%"), pilot=100.0,
        mesh=DEFAULT | {"defaultConfig": {"tracing": {"sampling": 7}}}),
    Scene("a defaultConfig of 0 leaves it to PILOT_TRACE_SAMPLING", _UNSET, _both("opentelemetry 100%"), pilot=100.0,
        mesh=DEFAULT | {"defaultConfig": {"tracing": {"sampling": 0}}}),
    Scene("a defaultConfig above 100 is 1", _UNSET, _both("opentelemetry 1%"), pilot=100.0,
        mesh=DEFAULT | {"defaultConfig": {"tracing": {"sampling": 250}}}),
    Scene("a percentage of 0 in a Telemetry is 0", _ORDER, _both("opentelemetry 0%"), pilot=100.0,
        telemetries=(a_telemetry("a", sampled(0), where=OURS),)),
    Scene("a pod's annotation goes over defaultConfig", _ANNOTATION, _both("opentelemetry 33%"),
        proxy_config={"tracing": {"sampling": 33}}, mesh=DEFAULT | {"defaultConfig": {"tracing": {"sampling": 7}}}),
    Scene("a root percentage goes over a pod's annotation", _ORDER, _both("opentelemetry 10%"),
        (a_telemetry("a", sampled(10)),), proxy_config={"tracing": {"sampling": 33}}),
    Scene("a root namespace of another name", "reference/config/istio.mesh: rootNamespace", _both("opentelemetry 44%"),
        (a_telemetry("a", sampled(44), where="mesh-root"), a_telemetry("b", sampled(1))),
        mesh=DEFAULT | {"rootNamespace": "mesh-root"}),
    Scene("a target reference does not reach sidecars", _MATCHER, _both("opentelemetry 1%"),
        (a_telemetry("a", sampled(100), where=OURS, **_target("grpc-tracing")),)),
    Scene("a target reference reaches the Gateway API's gateway by name", _MATCHER, {"out": "opentelemetry 15%"},
        (a_telemetry("a", sampled(15), where=OURS, **_target("grpc-tracing")),), workload=API_GATEWAY),
    Scene("one for another gateway does not", _MATCHER, {"out": "opentelemetry 1%"},
        (a_telemetry("a", sampled(15), where=OURS, **_target("other")),), workload=API_GATEWAY),
    Scene("waypoints never use a selector", _MATCHER, {"out": "opentelemetry 1%"},
        (a_telemetry("a", sampled(15), where=OURS,
            selector={"matchLabels": {"gateway.networking.k8s.io/gateway-name": "waypoint"}}),), workload=WAYPOINT),
    Scene("a waypoint is reached by its name", _MATCHER, {"out": "zipkin 15%"},
        (a_telemetry("a", sampled(15, providers=by("zip")), where=OURS, **_target("waypoint")),), workload=WAYPOINT),
    Scene("the namespace's own holds for its gateway", _HIERARCHY, {"out": "opentelemetry 12%"},
        (a_telemetry("a", sampled(12), where=OURS),), workload=API_GATEWAY),
)  # fmt: skip
