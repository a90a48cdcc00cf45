"""Spans in the table that the OpenTelemetry Collector's ClickHouse exporter makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from grpc_tracing.audit.facts import Fact, Layer
from grpc_tracing.spans.model import Kind, Span

Run = Callable[[str], object]
TABLE: Final = """
CREATE TABLE IF NOT EXISTS otel.otel_traces (
  Timestamp DateTime64(9) CODEC(Delta, ZSTD(1)),
  TraceId String CODEC(ZSTD(1)),
  SpanId String CODEC(ZSTD(1)),
  ParentSpanId String CODEC(ZSTD(1)),
  TraceState String CODEC(ZSTD(1)),
  SpanName LowCardinality(String) CODEC(ZSTD(1)),
  SpanKind LowCardinality(String) CODEC(ZSTD(1)),
  ServiceName LowCardinality(String) CODEC(ZSTD(1)),
  ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  ScopeName String CODEC(ZSTD(1)),
  ScopeVersion String CODEC(ZSTD(1)),
  SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  Duration UInt64 CODEC(ZSTD(1)),
  StatusCode LowCardinality(String) CODEC(ZSTD(1)),
  StatusMessage String CODEC(ZSTD(1)),
  Events Nested (
    Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)
  ) CODEC(ZSTD(1)),
  Links Nested (
    TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)
  ) CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
"""
"""As exporter/clickhouseexporter/internal/sqltemplates/traces_table.sql of opentelemetry-collector-contrib has it,
without its indexes."""


def create(run: Run) -> None:
    run("CREATE DATABASE IF NOT EXISTS otel")
    run(TABLE)


def insert(run: Run, spans: Iterable[Span]) -> None:
    rows = "\n".join(json.dumps(_row(one)) for one in spans)
    run(f"INSERT INTO otel.otel_traces FORMAT JSONEachRow\n{rows}")


def _row(span: Span) -> dict[str, object]:
    kind = "" if span.kind is Kind.UNSPECIFIED else span.kind.capitalize()
    return {
        "Timestamp": f"{span.start_ns // 10**9:010}.{span.start_ns % 10**9:09}",
        "TraceId": span.trace_id,
        "SpanId": span.span_id,
        "ParentSpanId": span.parent_id,
        "SpanName": span.name,
        "SpanKind": kind or "Unspecified",
        "ServiceName": span.service,
        "ResourceAttributes": dict(span.resource),
        "SpanAttributes": dict(span.attributes),
        "Duration": span.duration_ns,
        "Links.TraceId": [trace for trace, _ in span.links],
        "Links.SpanId": [own for _, own in span.links],
        "Links.TraceState": ["" for _ in span.links],
        "Links.Attributes": [{} for _ in span.links],
    }


def span_of(one: Fact) -> Span:
    """A span in which `fact` reads what is given."""
    sidecar = {"node_id": one.instance, "guid:x-request-id": one.request_id}
    attributes = {"grpc.path": "/" + one.route}
    attributes |= sidecar if one.layer is Layer.SIDECAR else {"x-request-id": one.request_id}
    attributes |= {"peer.service": one.target} if one.target else {}
    return Span(
        trace_id=one.trace_id,
        span_id=one.span_id,
        parent_id=one.parent_id,
        name=one.route,
        kind=one.kind,
        service=one.service,
        version=one.version,
        start_ns=max(0, one.start),
        end_ns=max(0, one.end),
        error=False,
        message="",
        attributes=tuple(attributes.items()),
        resource=(("service.instance.id", one.instance), ("service.version", one.version)),
        events=(),
        links=(("f" * 32, "f" * 16),) if one.linked else (),
    )
