"""What a span is called in a line of text, as Istio's, Envoy's and OpenTelemetry's tracers write it."""

from dataclasses import replace

import pytest

from grpc_tracing.spans.model import Span
from grpc_tracing.spans.names import operation, rpc_of, short_cluster
from tests.spans.test_tree import span

ISTIO = "grpc-server-svc1.grpc-tracing.svc.cluster.local:9996/*"
ROUTER = "router outbound|9996||grpc-server-svc1.grpc-tracing.svc.cluster.local; egress"
TALK = "org.feuyeux.grpc.LandingService/Talk"


def called(name: str, **attributes: str) -> Span:
    return replace(
        span("a", attributes=tuple((key.replace("__", "."), value) for key, value in attributes.items())), name=name
    )


OPERATIONS = [
    (called(ISTIO, http__url=f"http://127.0.0.1:46747/{TALK}"), "Talk"),
    (called(ISTIO, url__path=f"/{TALK}"), "Talk"),
    (called(ISTIO, grpc__path=f"/{TALK}"), "Talk"),
    (called(ISTIO, http__url="http://shop:80/cart/items/7"), "*"),
    (called(ISTIO, http__url="http://[::1/x"), "*"),
    (called(f"/{TALK}"), "Talk"),
    (called(ISTIO), "*"),
    (called(ROUTER), "to grpc-server-svc1"),
]


@pytest.mark.parametrize(("found", "said"), OPERATIONS)
def test_a_span_is_called_by_its_rpc(found: Span, said: str) -> None:
    assert operation(found) == said


def test_a_gateway_s_client_span_has_its_parent_s_rpc_and_the_cluster_s_short_name() -> None:
    assert operation(called(ROUTER), called(ISTIO, url__path=f"/{TALK}")) == "Talk to grpc-server-svc1"


def test_what_is_no_grpc_path_names_no_rpc() -> None:
    assert rpc_of(called("GET", http__url="http://shop/cart?x=/a.B/C")) == ""


@pytest.mark.parametrize(
    "cluster", ["outbound|9996||orders.shop.svc.cluster.local", "outbound|9996|v1|orders.shop.svc;"]
)
def test_a_cluster_is_the_service_that_it_leads_to(cluster: str) -> None:
    assert short_cluster(cluster) == "orders"
