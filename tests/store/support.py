"""A real store as a process, spans as a mesh makes them, a real Envoy that exports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True)
class Store:
    """A running store and how to talk to it."""

    process: subprocess.Popen[str]
    http: str
    otlp_http: str
    otlp_grpc: str
    client: httpx.Client

    def get(self, path: str, **params: str) -> httpx.Response:
        return self.client.get(f"http://{self.http}{path}", params=params)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/healthz").json()
        return found

    def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.post(f"http://{self.otlp_http}{path}", content=body, headers=named)

    def export(self, request: ExportTraceServiceRequest) -> None:
        answer = self.post("/v1/traces", request.SerializeToString(), content_type="application/x-protobuf")
        assert answer.status_code == 200, answer.text

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The trace's spans as the query API has them, each with its service; none where it is unknown."""
        answer = self.get(f"/api/v3/traces/{trace_id}").json()
        return [
            span | {"service": service_of(group)}
            for group in answer.get("result", {}).get("resourceSpans", ())
            for scope in group["scopeSpans"]
            for span in scope["spans"]
        ]

    def trace_ids(self) -> set[str]:
        """Of all that the store holds."""
        every = {"query.startTimeMin": "1970-01-01T00:00:00Z", "query.startTimeMax": "2200-01-01T00:00:00Z"}
        groups = self.get("/api/v3/traces", **every).json()["result"]["resourceSpans"]
        return {span["traceId"] for group in groups for scope in group["scopeSpans"] for span in scope["spans"]}

    def memory(self) -> int:
        """Resident, in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def service_of(group: dict[str, Any]) -> str:
    attributes = {pair["key"]: pair["value"] for pair in group["resource"].get("attributes", ())}
    return str(attributes["service.name"]["stringValue"])


def attributes_of(span: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: next(iter(pair["value"].values()), "") for pair in span.get("attributes", ())}


@contextmanager
def running_store(*options: str, log: list[str] | None = None, **settings: str) -> Iterator[Store]:
    """`settings` are added to its environment. It must say nothing while it runs, unless `log` gets its lines."""
    ports = [word for name in ("--http", "--otlp-grpc", "--otlp-http") for word in (name, "127.0.0.1:0")]
    command = [sys.executable, "-m", "grpc_tracing", "store", *ports, *options]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}) as process,
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        assert process.stderr
        try:
            told = json.loads(process.stderr.readline())
            yield Store(process, told["http"], told["otlp_http"], told["otlp_grpc"], client)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            said = process.stderr.read()
            assert log is not None or said == "", "the store complained"
            if log is not None:
                log += said.splitlines()
        finally:
            process.kill()


@contextmanager
def grpc_export(store: Store, compression: grpc.Compression = grpc.Compression.NoCompression) -> Iterator[Any]:
    """A callable that sends bytes to the store's OTLP gRPC service, as an exporter does."""
    with grpc.insecure_channel(store.otlp_grpc, [("grpc.enable_http_proxy", 0)], compression) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        yield lambda body: call(body, timeout=30)


def attribute(pairs: Any, key: str, value: str) -> None:
    pairs.add(key=key).value.string_value = value


@dataclass(frozen=True)
class Part:
    """One span to make: times in microseconds from the call's start."""

    service: str
    kind: int
    span_id: str
    parent_id: str = ""
    at_us: int = 0
    lasts_us: int = 1000
    name: str = "ingress"
    error: bool = False
    attributes: Mapping[str, str] | None = None
    version: str = ""


def export_request(trace_id: str, parts: list[Part], start_ns: int | None = None) -> ExportTraceServiceRequest:
    begin = time.time_ns() if start_ns is None else start_ns
    request = ExportTraceServiceRequest()
    for part in parts:
        group = request.resource_spans.add()
        attribute(group.resource.attributes, "service.name", part.service)
        if part.version:
            attribute(group.resource.attributes, "service.version", part.version)
        span = group.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(part.span_id),
            parent_span_id=bytes.fromhex(part.parent_id),
            name=part.name,
            kind=Span.SpanKind.ValueType(part.kind),
            start_time_unix_nano=begin + part.at_us * 1000,
            end_time_unix_nano=begin + (part.at_us + part.lasts_us) * 1000,
        )
        for key, value in (part.attributes or {}).items():
            attribute(span.attributes, key, value)
        span.status.code = Status.STATUS_CODE_ERROR if part.error else Status.STATUS_CODE_UNSET
    return request


@contextmanager
def held_port() -> Iterator[int]:
    """A port that nobody else gets: bound, never listening, shared with a process that sets SO_REUSEPORT."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
