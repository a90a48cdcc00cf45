"""OTLP bodies: read, split by trace, written again as OTLP's JSON."""

import base64
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from grpc_tracing.spans.formats.protojson import message_of
from grpc_tracing.spans.model import Attributes, Event, Kind, Span

# A trace is taken in and refused by the chunk, so that one too long for the store is cut and not lost.
CHUNK_SPANS = 500

# What JSON of the wrong shape raises depends on where it is wrong; SystemError is upb's for half a surrogate pair.
WRONG_SHAPE = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
    SystemError,
    json_format.Error,
)


class MalformedError(ValueError):
    """A body that is not what its content type says; the text is for the sender."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Spans of one trace, one resource and one scope: the serialized `ResourceSpans` that the store keeps."""

    trace_id: str
    spans: int
    data: bytes


def parse_protobuf(body: bytes) -> ExportTraceServiceRequest:
    """Raises MalformedError."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise MalformedError(f"the body is no ExportTraceServiceRequest: {error}") from error
    if body and not request.resource_spans:
        raise MalformedError("the body is no ExportTraceServiceRequest: it holds no resource_spans")
    return request


def parse_json(body: bytes) -> ExportTraceServiceRequest:
    """OTLP's JSON, which is protobuf's but for the ids, in hex. Raises MalformedError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is no JSON: {error}") from error
    return from_document(find_request(document))


def find_request(document: Any) -> Any:
    """What holds `resourceSpans`, in the answers of query APIs too. Raises MalformedError, which names another format.

    Jaeger's v3 API wraps it in `result`, Tempo's v2 in `trace`; Tempo's v1 calls the spans `batches`. An empty object
    is a request without spans, which OTLP allows.
    """
    if not isinstance(document, dict):
        raise MalformedError(f"the top is a {type(document).__name__}, not an object with resourceSpans")
    inner = next((document[key] for key in ("result", "trace") if isinstance(document.get(key), dict)), document)
    if "batches" in inner:
        return {"resourceSpans": inner["batches"]}
    if inner and "resourceSpans" not in inner:
        raise MalformedError(_other_format(inner))
    return inner


def find_spans(document: Any) -> Any:
    """The same for who reads what is kept: a document without `resourceSpans` is refused, an empty one too."""
    request = find_request(document)
    if "resourceSpans" not in request:
        raise MalformedError("there is no resourceSpans")
    return request


def _other_format(document: dict[str, Any]) -> str:
    if "data" in document:
        return "this is the JSON of Jaeger's UI (data); send OTLP's, as Jaeger's /api/v3/traces/{id} gives it"
    if "resource_spans" in document:
        return "OTLP's JSON spells its keys in lowerCamelCase: resourceSpans, not resource_spans"
    return "there is no resourceSpans"


def from_document(document: Any) -> ExportTraceServiceRequest:
    """The same, parsed already; it is left as it is. Raises MalformedError."""
    try:
        return message_of(document, ExportTraceServiceRequest)
    except WRONG_SHAPE as error:
        raise MalformedError(f"this is no ExportTraceServiceRequest in JSON: {error}") from error


def _json_spans(document: Any) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield span
                yield from span.get("links", ())


def _ids_in_hex(span: dict[str, Any]) -> None:
    for key in ("traceId", "spanId", "parentSpanId"):
        if key in span:
            span[key] = base64.b64decode(span[key]).hex()


def split(request: ExportTraceServiceRequest) -> tuple[list[Chunk], int]:
    """The request's spans by trace, and how many were rejected because their ids are not what OTLP asks for."""
    chunks: list[Chunk] = []
    rejected = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            valid = [span for span in scope.spans if is_valid(span)]
            rejected += len(scope.spans) - len(valid)
            chunks.extend(_by_trace(resource, scope, valid))
    return chunks, rejected


def is_valid(span: trace_pb2.Span) -> bool:
    """Whether its ids are what OTLP asks for."""
    return (
        len(span.trace_id) == 16
        and any(span.trace_id)
        and len(span.span_id) == 8
        and any(span.span_id)
        and len(span.parent_span_id) in {0, 8}
    )


def _by_trace(resource: ResourceSpans, scope: ScopeSpans, spans: list[trace_pb2.Span]) -> Iterator[Chunk]:
    for trace_id, group in groupby(sorted(spans, key=_trace_id), key=_trace_id):
        members = list(group)
        for at in range(0, len(members), CHUNK_SPANS):
            kept = ResourceSpans(resource=resource.resource, schema_url=resource.schema_url)
            part = members[at : at + CHUNK_SPANS]
            kept.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url, spans=part)
            yield Chunk(trace_id.hex(), len(part), kept.SerializeToString())


def joined(chunks: Iterable[bytes]) -> bytes:
    """Each as `resource_spans`, serialized: a TracesData, an ExportTraceServiceRequest, and Tempo's Trace."""
    return b"".join(field_1(chunk) for chunk in chunks)


def field_1(body: bytes) -> bytes:
    """A field of protobuf with number 1, its length before it."""
    length, made = len(body), bytearray(b"\x0a")
    while length > 0x7F:
        made.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*made, length]) + body


def _trace_id(span: trace_pb2.Span) -> bytes:
    return span.trace_id


def to_json(chunks: Iterable[bytes]) -> dict[str, Any]:
    """`{"resourceSpans": […]}` as OTLP's JSON has it: ids in hex, enumerations as numbers."""
    data = TracesData(resource_spans=[ResourceSpans.FromString(chunk) for chunk in chunks])
    document: dict[str, Any] = json_format.MessageToDict(data, use_integers_for_enums=True)
    for span in _json_spans(document):
        _ids_in_hex(span)
    return {"resourceSpans": document.get("resourceSpans", [])}


_KINDS = tuple(Kind)
_KIND_NAMES: Final = {f"SPAN_KIND_{kind.name}": kind for kind in Kind}


def read_chunk(chunk: bytes) -> Iterator[Span]:
    """The spans of one serialized `ResourceSpans`, as the store keeps them."""
    yield from spans_of([trace_pb2.ResourceSpans.FromString(chunk)])


def spans_of(groups: Iterable[ResourceSpans]) -> Iterator[Span]:
    """The spans of these groups, in their order."""
    for group in groups:
        yield from _spans_of(group)


def _spans_of(group: ResourceSpans) -> Iterator[Span]:
    resource = read_attributes(group.resource.attributes)
    facts = dict(resource)
    service, version = facts.get("service.name", "unknown"), facts.get("service.version", "")
    for scope in group.scope_spans:
        named = sys.intern(f"{scope.scope.name} {scope.scope.version}".strip())
        for span in scope.spans:
            yield _read_span(span, resource, sys.intern(service), sys.intern(version), named)


def _read_span(span: trace_pb2.Span, resource: Attributes, service: str, version: str, scope: str) -> Span:
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
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        scope=scope,
        dropped=(span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count),
    )


def read_json(document: Any) -> Iterator[Span]:
    """The spans of OTLP's JSON, parsed already: as `spans_of` reads them, but without protobuf, which takes far longer.

    Raises one of WRONG_SHAPE where it is not that.
    """
    for group in document.get("resourceSpans") or ():
        resource = _json_attributes((group.get("resource") or {}).get("attributes"))
        facts = dict(resource)
        service, version = facts.get("service.name", "unknown"), facts.get("service.version", "")
        for scope in group.get("scopeSpans") or ():
            named = scope.get("scope") or {}
            maker = sys.intern(f"{_json_text(named.get('name'))} {_json_text(named.get('version'))}".strip())
            for span in scope.get("spans") or ():
                yield _json_span(span, resource, sys.intern(service), sys.intern(version), maker)


def _json_span(span: dict[str, Any], resource: Attributes, service: str, version: str, scope: str) -> Span:
    attributes = _json_attributes(span.get("attributes"))
    known = dict(attributes)
    status = span.get("status") or {}
    return Span(
        trace_id=_json_id(span.get("traceId")),
        span_id=_json_id(span.get("spanId")),
        parent_id=_json_id(span.get("parentSpanId")).replace("0" * 16, ""),
        name=_json_text(span.get("name")),
        kind=_json_kind(span.get("kind", 0)),
        service=service,
        version=version or known.get("service.version", ""),
        start_ns=_json_time(span.get("startTimeUnixNano")),
        end_ns=_json_time(span.get("endTimeUnixNano")),
        error=status.get("code") in {2, "STATUS_CODE_ERROR"} or _failed(known),
        message=_json_text(status.get("message")),
        attributes=attributes,
        resource=resource,
        events=tuple(
            Event(_json_text(e.get("name")), _json_time(e.get("timeUnixNano")), _json_attributes(e.get("attributes")))
            for e in span.get("events") or ()
        ),
        links=tuple((_json_id(link.get("traceId")), _json_id(link.get("spanId"))) for link in span.get("links") or ()),
        scope=scope,
        dropped=(
            int(span.get("droppedAttributesCount") or 0),
            int(span.get("droppedEventsCount") or 0),
            int(span.get("droppedLinksCount") or 0),
        ),
    )


def _json_id(value: Any) -> str:
    """In lower-case hex, which Tempo writes in base64."""
    text = _json_text(value)
    if len(text) in {24, 12} and text.endswith("="):
        return base64.b64decode(text, validate=True).hex()
    return bytes.fromhex(text).hex()


def _json_text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value or ""


def _json_time(value: Any) -> int:
    number = int(value or 0)
    if not 0 <= number < 2**64:
        raise ValueError(f"{number} is no time")
    return number


def _json_kind(value: Any) -> Kind:
    if isinstance(value, str) and not value.isdecimal():
        return _KIND_NAMES.get(value, Kind.UNSPECIFIED)
    number = int(value)
    return _KINDS[number] if 0 <= number < len(_KINDS) else Kind.UNSPECIFIED


def _json_attributes(pairs: Any) -> Attributes:
    return tuple((sys.intern(_json_text(pair.get("key"))), _json_value(pair.get("value"))) for pair in pairs or ())


def _json_value(value: Any) -> str:
    """An attribute's value as `text_of` writes it."""
    if value and (text := value.get("stringValue")) is not None:
        return _json_text(text)
    return json.dumps(_plain_json(value), ensure_ascii=False)


def _plain_json(value: Any) -> object:
    for field, inner in (value or {}).items():
        if read := _READ.get(field):
            return read(inner)
    return None


_READ: Final[Mapping[str, Callable[[Any], object]]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": lambda value: base64.b64decode(value).hex(),
    "arrayValue": lambda value: [_plain_json(item) for item in value.get("values") or ()],
    "kvlistValue": lambda value: {pair["key"]: _plain_json(pair.get("value")) for pair in value.get("values") or ()},
}


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
