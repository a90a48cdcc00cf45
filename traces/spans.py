"""A span as the store reads it: immutable, every value as text."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

Attributes = tuple[tuple[str, str], ...]


class Kind(StrEnum):
    """The span kinds of OTLP, in the order of their numbers, spelled as Jaeger's operations spell them."""

    UNSPECIFIED = "unspecified"
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


_KINDS = tuple(Kind)


@dataclass(frozen=True, slots=True)
class Event:
    """A span event; a Zipkin annotation is one too."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Ids are lower-case hex, `parent_id` is empty where there is none; times are Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    service: str
    version: str
    start_ns: int
    end_ns: int
    error: bool
    message: str
    attributes: Attributes
    resource: Attributes
    events: tuple[Event, ...]

    @property
    def duration_ns(self) -> int:
        """Never negative: clocks step back, spans do not."""
        return max(0, self.end_ns - self.start_ns)

    def attribute(self, *keys: str) -> str:
        """The value of the first of these keys that is there, else an empty string."""
        found = dict(self.attributes)
        return next((found[key] for key in keys if key in found), "")


def read_chunk(chunk: bytes) -> Iterator[Span]:
    """The spans of one serialized `ResourceSpans`, as the store keeps them."""
    group = trace_pb2.ResourceSpans.FromString(chunk)
    resource = read_attributes(group.resource.attributes)
    facts = dict(resource)
    service, version = facts.get("service.name", "unknown"), facts.get("service.version", "")
    for scope in group.scope_spans:
        for span in scope.spans:
            yield _read_span(span, resource, sys.intern(service), sys.intern(version))


def _read_span(span: trace_pb2.Span, resource: Attributes, service: str, version: str) -> Span:
    attributes = read_attributes(span.attributes)
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        name=span.name,
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else Kind.UNSPECIFIED,
        service=service,
        # Envoy's Zipkin tracer has no resource: the mesh gives its spans the version as a tag.
        version=version or dict(attributes).get("service.version", ""),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR or _failed(dict(attributes)),
        message=span.status.message,
        attributes=attributes,
        resource=resource,
        events=tuple(Event(e.name, e.time_unix_nano, read_attributes(e.attributes)) for e in span.events),
    )


def _failed(attributes: dict[str, str]) -> bool:
    """Envoy leaves a failed gRPC call's OTLP status unset where HTTP's own status is 200."""
    return (
        attributes.get("grpc.status_code", "0") != "0"
        or attributes.get("http.status_code", "").startswith("5")
        or attributes.get("error", "false") not in {"false", ""}
    )


def read_attributes(pairs: Iterable[KeyValue]) -> Attributes:
    """Attributes in their order, values as text."""
    return tuple((sys.intern(pair.key), text_of(pair.value)) for pair in pairs)


def text_of(value: AnyValue) -> str:
    """Strings as they are, everything else as JSON writes it, bytes as hex."""
    if value.HasField("string_value"):
        return value.string_value
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: AnyValue) -> object:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case field:
            return getattr(value, field)


_NAME = re.compile(r"(?:grpc-server-)?([^.]+)(?:\.[^.]+)?")


def fold(service: str) -> str:
    """The service behind a span's service name: `grpc-server-svc1.grpc-tracing`, as Istio reports it, is `svc1`.

    An Istio ingress gateway is the `ingress`; a name of three or more parts is left alone.
    """
    match = _NAME.fullmatch(service)
    name = match[1] if match else service
    return "ingress" if name.endswith("ingressgateway") else sys.intern(name)
