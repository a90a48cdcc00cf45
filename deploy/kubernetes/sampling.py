"""What istiod makes of the mesh's configuration and the Telemetry objects: who traces, with which provider, how much.

A pure function of the objects, by the rule of Istio's own source: pilot/pkg/model/telemetry.go (which Telemetry
applies), pilot/pkg/model/policyattachment.go (to which workload), pilot/pkg/networking/core/tracing.go (what it means).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deploy.kubernetes.kubectl import Object

Direction = Literal["in", "out"]
State = Literal["traced", "bootstrap", "off", "unknown"]

ISTIO_S_DEFAULT = 1.0
"""Per cent; PILOT_TRACE_SAMPLING where the istiod sets none."""

ROOT_NAMESPACE = "istio-system"

_MODES: Mapping[Direction, str] = {"in": "SERVER", "out": "CLIENT"}
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_TRACERS = ("opentelemetry", "zipkin", "skywalking", "datadog", "lightstep", "stackdriver", "opencensus")
"""The provider kinds that trace. Newer versions of Istio have dropped the last three."""
_SAMPLERS = ("dynatraceSampler",)
_IN_BOOTSTRAP = (*_TRACERS, "openCensusAgent")


@dataclass(frozen=True, slots=True)
class Workload:
    """proxy_config: what the pod's annotation proxy.istio.io/config says, parsed."""

    namespace: str
    labels: Mapping[str, str]
    kind: Literal["sidecar", "gateway", "waypoint"] = "sidecar"
    proxy_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """A gateway and a waypoint take the client side alone."""
        return ("in", "out") if self.kind == "sidecar" else ("out",)


@dataclass(frozen=True, slots=True)
class Mesh:
    """config: the mesh configuration, parsed; None where it may not be read.

    pilot_sampling: PILOT_TRACE_SAMPLING in per cent; None where the istiod may not be read.
    """

    config: Mapping[str, Any] | None
    pilot_sampling: float | None = ISTIO_S_DEFAULT

    @property
    def root_namespace(self) -> str:
        return str((self.config or {}).get("rootNamespace") or ROOT_NAMESPACE)

    def provider(self, name: str) -> Mapping[str, Any] | None:
        """Names are the same whatever their case."""
        defined = (self.config or {}).get("extensionProviders") or []
        return next((one for one in defined if one["name"].lower() == name.lower()), None)

    def default_provider(self) -> str | None:
        """The first: Istio uses one."""
        names = ((self.config or {}).get("defaultProviders") or {}).get("tracing") or []
        return str(names[0]) if names else None


@dataclass(frozen=True, slots=True)
class Tracing:
    """What one direction of a workload does.

    traced: with a provider that the mesh defines. bootstrap: the classic way, with what the proxy was started with.
    percentage: of calls that arrive without a trace context; None where unknown, or off.
    """

    state: State
    provider: str | None
    kind: str | None
    percentage: float | None
    why: str

    @property
    def makes_spans(self) -> bool:
        """False for a bootstrap that names no tracer: the headers pass, and no span leaves."""
        return self.state == "traced" or (self.state == "bootstrap" and self.kind is not None)


@dataclass(slots=True)
class _Spec:
    """What the Telemetries add up to, each value with the object that set it."""

    provider: str | None = None
    provider_from: str = ""
    disabled_by: str = ""
    percentage: float | None = None
    percentage_from: str = ""
    seen: list[str] = field(default_factory=list)

    def merge(self, name: str, entry: Mapping[str, Any]) -> None:
        if providers := entry.get("providers"):
            self.provider, self.provider_from = str(providers[0]["name"]), name
        if (disabled := entry.get("disableSpanReporting")) is not None:
            self.disabled_by = name if disabled else ""
        if (percentage := entry.get("randomSamplingPercentage")) is not None:
            self.percentage, self.percentage_from = float(percentage), name


def tracing(workload: Workload, direction: Direction, telemetries: Iterable[Object], mesh: Mesh) -> Tracing:
    """telemetries: of the whole mesh, in any order, whatever they are about."""
    applied = list(applicable(workload, telemetries, mesh.root_namespace))
    spec = _Spec(provider=mesh.default_provider(), provider_from="defaultProviders of the mesh")
    for one in applied:
        entries = one["spec"].get("tracing") or []
        if entries:
            spec.seen.append(called(one))
        for entry in entries:
            if _fits(entry, direction):
                spec.merge(called(one), entry)
    if not spec.seen and spec.provider is None:
        return _without_telemetry(workload, mesh)
    return _with_provider(workload, mesh, spec)


def applicable(workload: Workload, telemetries: Iterable[Object], root: str) -> Iterator[Object]:
    """From the weakest to the strongest: the root namespace's, the workload's namespace's, the workload's own.

    Of a namespace's own that select nothing the oldest alone counts, even if it says nothing of tracing.
    """
    by_age = sorted(telemetries, key=_age)
    for namespace in dict.fromkeys((root, workload.namespace)):
        wide = (one for one in by_age if _namespace(one) == namespace and not _selects(one))
        yield from list(wide)[:1]
    for one in by_age:
        if _namespace(one) == workload.namespace and _selects(one) and _attached(one["spec"], workload, root):
            yield one


def called(telemetry: Object) -> str:
    return f"Telemetry {_namespace(telemetry)}/{telemetry['metadata']['name']}"


def _age(telemetry: Object) -> tuple[str, str, str]:
    metadata = telemetry["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"], _namespace(telemetry)


def _namespace(telemetry: Object) -> str:
    return str(telemetry["metadata"].get("namespace", ""))


def _labels(spec: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = (spec.get("selector") or {}).get("matchLabels") or {}
    return found


def _targets(spec: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """`targetRef` is the older name for one."""
    one = spec.get("targetRef")
    found: Sequence[Mapping[str, str]] = spec.get("targetRefs") or ([one] if one else [])
    return found


def _selects(telemetry: Object) -> bool:
    return bool(_labels(telemetry["spec"]) or _targets(telemetry["spec"]))


def _attached(spec: Mapping[str, Any], workload: Workload, root: str) -> bool:
    """A Gateway API's gateway by its name; a waypoint by that alone; all others by their labels."""
    gateway = workload.labels.get(_GATEWAY_NAME)
    if not _targets(spec):
        return workload.kind != "waypoint" and _labels(spec).items() <= workload.labels.items()
    return gateway is not None and any(_targeted(target, gateway, workload, root) for target in _targets(spec))


def _targeted(target: Mapping[str, str], gateway: str, workload: Workload, root: str) -> bool:
    kind, name = target.get("kind"), target.get("name")
    if kind == "GatewayClass":
        return workload.kind == "waypoint" and workload.namespace == root and name == "istio-waypoint"
    there = target.get("namespace") or workload.namespace
    return kind == "Gateway" and name == gateway and there == workload.namespace


def _fits(entry: Mapping[str, Any], direction: Direction) -> bool:
    mode = (entry.get("match") or {}).get("mode", "CLIENT_AND_SERVER")
    return mode in ("CLIENT_AND_SERVER", _MODES[direction])


def _off(why: str) -> Tracing:
    return Tracing("off", None, None, None, why)


def _without_telemetry(workload: Workload, mesh: Mesh) -> Tracing:
    """The classic way: `enableTracing`, and a tracer in the proxy's bootstrap."""
    if mesh.config is None:
        return Tracing(
            "unknown", None, None, None, "no Telemetry applies, and the mesh's configuration may not be read"
        )
    if not mesh.config.get("enableTracing", True):
        return _off("no Telemetry, no default provider, and enableTracing is false")
    percentage, source = _fallback(workload, mesh)
    bootstrap = _proxy_tracing(workload, mesh)
    kind = next((one for one in _IN_BOOTSTRAP if one in bootstrap), None)
    if kind is None:
        return Tracing("bootstrap", None, None, percentage, "no provider: none is named, and the mesh has no default")
    return Tracing("bootstrap", f"defaultConfig's {kind}", kind, percentage, f"the classic way, {source}")


def _with_provider(workload: Workload, mesh: Mesh, spec: _Spec) -> Tracing:
    if spec.disabled_by:
        return _off(f"{spec.disabled_by} sets disableSpanReporting")
    if mesh.config is None:
        why = f"{', '.join(spec.seen)}; the mesh's configuration may not be read"
        return Tracing("unknown", spec.provider, None, spec.percentage, why)
    if spec.provider is None:
        return _off(f"{spec.seen[-1]} names no provider, and the mesh has no default")
    defined = mesh.provider(spec.provider)
    if defined is None:
        return _off(f"the mesh defines no provider {spec.provider}, which {spec.provider_from} names")
    kind = next((one for one in _TRACERS if one in defined), None)
    if kind is None:
        return _off(f"the provider {spec.provider}, which {spec.provider_from} names, does not trace")
    percentage, source = _percentage(workload, mesh, spec, defined[kind] or {})
    return Tracing("traced", defined["name"], kind, percentage, f"provider by {spec.provider_from}, {source}")


def _percentage(workload: Workload, mesh: Mesh, spec: _Spec, provider: Mapping[str, Any]) -> tuple[float | None, str]:
    if sampler := next((one for one in _SAMPLERS if one in provider), None):
        return 100.0, f"the provider's own {sampler} decides"
    if spec.percentage is not None:
        return spec.percentage, f"sampling by {spec.percentage_from}"
    return _fallback(workload, mesh)


def _fallback(workload: Workload, mesh: Mesh) -> tuple[float | None, str]:
    """A sampling of 0 counts as unset there; above 100 it becomes 1."""
    if sampling := float(_proxy_tracing(workload, mesh).get("sampling") or 0):
        return (sampling if sampling <= 100 else 1.0), "sampling by defaultConfig, for proxies started since"
    if mesh.pilot_sampling is None:
        return None, "sampling by PILOT_TRACE_SAMPLING of the istiod, which may not be read"
    return mesh.pilot_sampling, "sampling by PILOT_TRACE_SAMPLING of the istiod"


def _proxy_tracing(workload: Workload, mesh: Mesh) -> Mapping[str, Any]:
    """The pod's annotation replaces the whole message."""
    if "tracing" in workload.proxy_config:
        return workload.proxy_config["tracing"] or {}
    return ((mesh.config or {}).get("defaultConfig") or {}).get("tracing") or {}
