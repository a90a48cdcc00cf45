"""Jaeger's own JSON: what its UI downloads and `/api/traces` answers, `{"data": [{"spans": …, "processes": …}]}`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def trace_of(spans: Sequence[Span]) -> dict[str, Any]:
    """The reverse: one trace, as `/api/traces` has it. All values but that of `error`, which pages read, are text."""
    numbers: dict[tuple[str, Attributes], str] = {}
    for span in spans:
        numbers.setdefault((span.service, span.resource), f"p{len(numbers) + 1}")
    return {
        "traceID": spans[0].trace_id,
        "spans": [_written(span, numbers[span.service, span.resource]) for span in spans],
        "processes": {
            number: {"serviceName": service, "tags": _as_tags(one for one in resource if one[0] != "service.name")}
            for (service, resource), number in numbers.items()
        },
        "warnings": None,
    }


def _written(span: Span, process: str) -> dict[str, Any]:
    told = (("span.kind", span.kind.value), ("otel.status_description", span.message))
    tags = _as_tags((*span.attributes, *((key, value) for key, value in told if value)))
    parents = ((span.trace_id, span.parent_id, "CHILD_OF"),) if span.parent_id else ()
    references = (*parents, *((trace_id, span_id, "FOLLOWS_FROM") for trace_id, span_id in span.links))
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [{"refType": kind, "traceID": one, "spanID": other} for one, other, kind in references],
        "startTime": span.start_ns // 1000,
        "duration": span.duration_ns // 1000,
        "tags": [*tags, {"key": "error", "type": "bool", "value": True}] if span.error else tags,
        "logs": [
            {"timestamp": event.at_ns // 1000, "fields": _as_tags((("event", event.name), *event.attributes))}
            for event in span.events
        ],
        "processID": process,
        "warnings": None,
    }


def _as_tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"key": key, "type": "string", "value": value} for key, value in pairs]


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
