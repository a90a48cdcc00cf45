"""Alibaba Cloud's answer to GetTrace: of Managed Service for OpenTelemetry, and of ARMS for applications.

Both as their API references document them. The first has spans in `Spans.Span` and times in microseconds, the second
in `Spans`, with durations in milliseconds and times in seconds or milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from grpc_tracing.spans.model import Attributes, Kind, Span

_KINDS: Final = {kind.value: kind for kind in Kind}
_RPC_TYPES: Final = {
    0: Kind.SERVER,
    25: Kind.CLIENT,
    1: Kind.CLIENT,
    2: Kind.SERVER,
    13: Kind.PRODUCER,
    252: Kind.CONSUMER,
}
"""HTTP, HSF and MQ, by the numbers of the API reference; a tag `span.kind` says more."""
_MILLISECONDS_FROM: Final = 10**11
"""Seconds stay below it for three thousand years, milliseconds are above it from 1973 on."""


def spans_of(document: Mapping[str, Any]) -> Iterator[Span]:
    """Raises ValueError, TypeError, KeyError or AttributeError where it is of another shape."""
    spans = document["Spans"]
    in_microseconds = isinstance(spans, Mapping)
    for span in _list(spans, "Span"):
        yield _span(span, in_microseconds=in_microseconds)


def _list(value: Any, key: str) -> list[Any]:
    """A list, alone or under the name of what it holds; one of one thing may be that thing."""
    inner = value.get(key) or [] if isinstance(value, Mapping) else value or []
    return inner if isinstance(inner, list) else [inner]


def _span(span: Mapping[str, Any], *, in_microseconds: bool) -> Span:
    tags = _tags(span)
    known = dict(tags)
    start, duration = int(span["Timestamp"]), int(span.get("Duration") or 0)
    if in_microseconds:
        start, duration = start * 1000, duration * 1000
    else:
        start, duration = start * (10**6 if start > _MILLISECONDS_FROM else 10**9), duration * 10**6
    service = sys.intern(str(span.get("ServiceName") or "unknown"))
    return Span(
        trace_id=str(span["TraceID"]).lower().zfill(32),
        span_id=str(span["SpanId"]).lower().zfill(16),
        parent_id=_parent(str(span.get("ParentSpanId") or "")),
        name=str(span.get("OperationName", "")),
        kind=_KINDS.get(known.get("span.kind", ""), _RPC_TYPES.get(int(span.get("RpcType", -1)), Kind.INTERNAL)),
        service=service,
        version=known.get("service.version", ""),
        start_ns=start,
        end_ns=start + duration,
        error=known.get("error", "false") not in {"false", ""},
        message="",
        attributes=tags,
        resource=(("service.name", service), ("host.name", str(span.get("ServiceIp") or ""))),
        events=(),
    )


def _parent(text: str) -> str:
    """A root has none, or zeros."""
    return text.lower().zfill(16) if text.strip("0") else ""


def _tags(span: Mapping[str, Any]) -> Attributes:
    pairs = ((str(tag["Key"]), str(tag.get("Value", ""))) for tag in _list(span.get("TagEntryList"), "TagEntry"))
    return tuple((sys.intern(key), value) for key, value in pairs)
