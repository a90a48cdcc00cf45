"""What the audit reads in one span, kept small: an hour of a mesh has a million of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from grpc_tracing.headers.families import REQUEST_ID
from grpc_tracing.spans.model import Kind, Span

ENTRIES: Final = frozenset({Kind.SERVER, Kind.CONSUMER})
EXITS: Final = frozenset({Kind.CLIENT, Kind.PRODUCER})
INSTANCE: Final = ("service.instance.id", "k8s.pod.name", "k8s.pod.uid", "host.name")
SIDECAR: Final = (f"guid:{REQUEST_ID}", "upstream_cluster.name", "upstream_cluster", "node_id")
TARGET: Final = ("peer.service", "upstream_cluster.name", "upstream_cluster", "rpc.service", "server.address")
POD: Final = re.compile(r".+-([bcdfghjklmnpqrstvwxz2456789]{6,10})-[bcdfghjklmnpqrstvwxz2456789]{5}")
"""A Deployment's pod: its name, the hash of the pod's template, five characters of its own (apimachinery's rand)."""
NO_VERSION: Final = frozenset({"", "latest"})
"""Istio's canonical revision is `latest` unless a label says otherwise."""
LONGEST: Final = 200
"""Characters of a name that are kept."""


class Layer(StrEnum):
    """Who made a span: the proxy beside the service, or the service's own SDK."""

    SIDECAR = "sidecar"
    SDK = "sdk"


class Fact(NamedTuple):
    """A span as the audit needs it. Times are Unix nanoseconds, `route` is the RPC, `target` whom a call out is for."""

    trace_id: str
    span_id: str
    parent_id: str
    kind: Kind
    service: str
    instance: str
    version: str
    layer: Layer
    route: str
    target: str
    start: int
    end: int
    request_id: str
    linked: bool = False
    """To a span of another trace, as what a queue hands on is."""


READ: Final = frozenset(
    (*INSTANCE, *SIDECAR, *TARGET, "grpc.path", "rpc.method", "http.url", "url.path", REQUEST_ID, "service.version")
)
"""The keys of all attributes that `fact_of` looks at."""


def fact(span: Span) -> Fact:
    """Reads a span; one whose clock stepped back ends when it began."""
    return fact_of(
        (span.trace_id, span.span_id, span.parent_id),
        span.kind,
        (span.service, span.version, span.name),
        (span.start_ns, span.end_ns),
        attributes=dict(span.attributes),
        resource=dict(span.resource),
        linked=any(trace_id != span.trace_id for trace_id, _ in span.links),
    )


def fact_of(
    ids: tuple[str, str, str],
    kind: Kind,
    names: tuple[str, str, str],
    times: tuple[int, int],
    *,
    attributes: Mapping[str, str],
    resource: Mapping[str, str],
    linked: bool,
    kept: Callable[[str], str] = sys.intern,
) -> Fact:
    """Of trace, span and parent; of service, version and the span's own name; of start and end.

    Of `attributes` and `resource` those in READ are enough. `kept` gives one string for all that are equal.
    """

    def name(text: str) -> str:
        return kept(text[:LONGEST])

    service, version, own = names
    sidecar = any(key in attributes for key in SIDECAR)
    instance = name(_first(resource, INSTANCE) or _node(attributes) or _first(attributes, INSTANCE))
    request_id = attributes.get(f"guid:{REQUEST_ID}", "") or attributes.get(REQUEST_ID, "")
    return Fact(
        *ids,
        kind=kind,
        service=name(service),
        instance=instance,
        version=name(version if version not in NO_VERSION else _template(instance) or version),
        layer=Layer.SIDECAR if sidecar else Layer.SDK,
        route=name(_route(own, attributes)),
        target=name(_target(_first(attributes, TARGET))) if kind in EXITS else "",
        start=times[0],
        end=max(times),
        request_id=request_id if len(request_id) <= LONGEST else "",
        linked=linked,
    )


def target_of(call_out: Fact) -> str:
    """Whom a call out is for; where the span does not tell, what it calls."""
    return call_out.target or call_out.route


def _template(instance: str) -> str:
    """The hash of a pod's template, which is another with each release."""
    match = POD.fullmatch(instance)
    return match[1] if match else ""


def _node(attributes: Mapping[str, str]) -> str:
    """Istio's node ids are `sidecar~ADDRESS~POD.NAMESPACE~DOMAIN`: the pod is what an SDK would name."""
    node = attributes.get("node_id", "")
    parts = node.split("~")
    return parts[2].partition(".")[0] if len(parts) == 4 else node


def _first(values: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((values[key] for key in keys if values.get(key)), "")


def _route(name: str, attributes: Mapping[str, str]) -> str:
    """The RPC, `package.Service/Method`, where the span tells it: by RPC attributes, by path, else by its name."""
    if path := attributes.get("grpc.path"):
        return path.lstrip("/")
    service, method = attributes.get("rpc.service", ""), attributes.get("rpc.method", "")
    if method:
        return f"{service}/{method}" if service else method.lstrip("/")
    url = attributes.get("http.url") or attributes.get("url.path") or ""
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url
    return path.partition("?")[0].lstrip("/") or name


def _target(text: str) -> str:
    """Istio's cluster names are `outbound|9996||orders.shop.svc.cluster.local`: the service is `orders`."""
    if "|" in text:
        return text.rsplit("|", maxsplit=1)[-1].rstrip(";").partition(".")[0] or text
    return text
