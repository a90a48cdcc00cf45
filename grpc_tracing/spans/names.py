"""The names of services, calls and clusters as different tracers write them."""

import re
import sys
from urllib.parse import urlsplit

from grpc_tracing.spans.model import Span

_NAME = re.compile(r"([^.]+)(?:\.[^.]+)?")
_PATH = re.compile(r"/[\w.]+/(\w+)")
_TO_CLUSTER = re.compile(r"router (\S+?);? egress")
_RPC = ("talk.rpc", "grpc.path", "rpc.method")
_URL = ("http.url", "url.full", "url.path", "http.target")


def fold(service: str) -> str:
    """The service behind a span's service name: `orders.shop`, as Istio writes workload and namespace, is `orders`.

    An Istio ingress gateway is the `ingress`; a name of three or more parts is left alone.
    """
    match = _NAME.fullmatch(service)
    name = match[1] if match else service
    return "ingress" if name.endswith("ingressgateway") else sys.intern(name)


def rpc_of(span: Span) -> str:
    """The method of a gRPC call, without its service: as the requester, Envoy or an OpenTelemetry SDK writes it.

    Istio names an operation `host:port/*`; what was called stands in the URL. Empty where nothing tells.
    """
    named = span.attribute(*_RPC).rsplit("/", 1)[-1]
    path = _PATH.fullmatch(urlsplit(_url(span)).path)
    return sys.intern(named or (path[1] if path else ""))


def _url(span: Span) -> str:
    """urlsplit refuses a host that is none: then only the path matters, and that is lost."""
    found = span.attribute(*_URL)
    return "" if "[" in found or "]" in found else found


def short_cluster(cluster: str) -> str:
    """`outbound|9996||orders.shop.svc.cluster.local`, as Istio names a cluster, is `orders`."""
    return fold(".".join(cluster.rsplit("|", maxsplit=1)[-1].rstrip(";").split(".")[:2]))


def operation(span: Span, parent: Span | None = None) -> str:
    """What a span did, for a line of text: its RPC, else its name.

    Of the span that a gateway's router leaves only the cluster is known: its parent tells the RPC.
    """
    if router := _TO_CLUSTER.fullmatch(span.name):
        rpc = rpc_of(parent) if parent else ""
        return f"{rpc} to {short_cluster(router[1])}".lstrip()
    return rpc_of(span) or span.name.rpartition("/")[2]
