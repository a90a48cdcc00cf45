"""A real Envoy exports, the store assembles: over OTLP gRPC, and with the Zipkin tracer over HTTP."""

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.store.envoy import ingress_to_health_service
from tests.store.support import attributes_of, running_store
from tests.support.waiting import wait_for


@pytest.mark.parametrize("tracer", ["otlp", "zipkin"])
def test_a_call_through_ingress_and_sidecar_is_one_trace(tracer: str, tmp_path: Path) -> None:
    with running_store() as store, ingress_to_health_service(store, tracer, tmp_path) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.RpcError):
            check(health_pb2.HealthCheckRequest(service="nobody").SerializeToString(), timeout=10)
        wait_for(lambda: store.health()["spans"] == 2, "both spans are there")
        (trace_id,) = store.trace_ids()
        spans = store.spans(trace_id)
        (root,) = [span for span in spans if "parentSpanId" not in span]
        (child,) = [span for span in spans if span is not root]
        assert child["parentSpanId"] == root["spanId"]
        assert (root["kind"], child["kind"], child["service"]) == (3, 2, "svc1")
        assert {attributes_of(span)["grpc.status_code"] for span in spans} == {"5"}
        assert len({attributes_of(span)["guid:x-request-id"] for span in spans}) == 1
