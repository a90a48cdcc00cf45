"""OTLP's protobuf read for the audit alone: of each span the dozen attributes that it looks at, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from grpc_tracing.audit.facts import READ, Fact, fact_of
from grpc_tracing.spans.formats.otlp import is_valid, text_of
from grpc_tracing.spans.model import Kind

_KINDS: Final = tuple(Kind)
_RESOURCE: Final = READ | {"service.name"}
_NONE: Final = b"\0" * 8
Named = Callable[[str], str]


def facts_of(request: ExportTraceServiceRequest, named: Named) -> Iterator[Fact | None]:
    """What `fact` reads in each span; None for one whose ids are not what OTLP asks for."""
    for group in request.resource_spans:
        resource = _read(group.resource.attributes, _RESOURCE)
        service, version = resource.get("service.name", "unknown"), resource.get("service.version", "")
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _fact(span, resource, (service, version), named) if is_valid(span) else None


def _fact(span: trace_pb2.Span, resource: dict[str, str], names: tuple[str, str], named: Named) -> Fact:
    attributes = _read(span.attributes, READ)
    parent = span.parent_span_id
    return fact_of(
        (span.trace_id.hex(), span.span_id.hex(), "" if parent == _NONE else parent.hex()),
        _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else Kind.UNSPECIFIED,
        (names[0], names[1] or attributes.get("service.version", ""), span.name),
        (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes=attributes,
        resource=resource,
        linked=bool(span.links) and any(link.trace_id != span.trace_id for link in span.links),
        kept=named,
    )


def _read(pairs: Iterable[KeyValue], wanted: frozenset[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        if (key := pair.key) in wanted:
            value = pair.value
            found[key] = value.string_value or text_of(value)
    return found
