"""Jaeger's own JSON: what its UI downloads and `/api/traces` answers, `{"data": [{"spans": …, "processes": …}]}`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from grpc_tracing.spans.model import Attributes, Kind, Links, Span

_KINDS = {kind.value: kind for kind in Kind}


def spans_of(document: Mapping[str, Any]) -> Iterator[Span]:
    """Raises ValueError, TypeError, KeyError or AttributeError where it is of another shape. Times are microseconds."""
    for trace in document["data"]:
        processes = {key: _process(one) for key, one in (trace.get("processes") or {}).items()}
        for span in trace["spans"]:
            service, resource = processes.get(span.get("processID", ""), ("unknown", ()))
            yield _span(span, service, resource)


def _process(process: Mapping[str, Any]) -> tuple[str, Attributes]:
    name = sys.intern(str(process.get("serviceName") or "unknown"))
    return name, (("service.name", name), *_tags(process))


def _span(span: Mapping[str, Any], service: str, resource: Attributes) -> Span:
    tags = _tags(span)
    known, start = dict(tags), int(span["startTime"]) * 1000
    return Span(
        trace_id=str(span["traceID"]).lower().zfill(32),
        span_id=str(span["spanID"]).lower().zfill(16),
        parent_id=_parent(span),
        name=str(span.get("operationName", "")),
        kind=_KINDS.get(known.get("span.kind", "internal"), Kind.UNSPECIFIED),
        service=service,
        version=dict(resource).get("service.version", ""),
        start_ns=start,
        end_ns=start + int(span.get("duration") or 0) * 1000,
        error=known.get("error", "false") not in {"false", ""},
        message=known.get("otel.status_description", ""),
        attributes=tags,
        resource=resource,
        events=(),
        links=_links(span),
    )


def _parent(span: Mapping[str, Any]) -> str:
    """The first CHILD_OF of its own trace, else a FOLLOWS_FROM of it."""
    own = [one for one in span.get("references") or () if one.get("traceID") == span["traceID"]]
    own.sort(key=lambda one: one.get("refType") != "CHILD_OF")
    found = str(own[0]["spanID"]) if own else str(span.get("parentSpanID") or "")
    return found.lower().zfill(16) if found.strip("0") else ""


def _links(span: Mapping[str, Any]) -> Links:
    """The references to other traces."""
    others = [one for one in span.get("references") or () if one.get("traceID") != span["traceID"]]
    return tuple((str(one["traceID"]).lower().zfill(32), str(one["spanID"]).lower().zfill(16)) for one in others)


def _tags(holder: Mapping[str, Any]) -> Attributes:
    pairs = ((str(tag["key"]), tag.get("value")) for tag in holder.get("tags") or ())
    return tuple((sys.intern(key), value if isinstance(value, str) else json.dumps(value)) for key, value in pairs)
