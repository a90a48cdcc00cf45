"""Answers of backends that are not there, in the shapes that their API references show, made of the spans of a test.

A search gives the newest traces first, as many as it is asked for; what its API requires it refuses to do without.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Attributes, Span

Answer = tuple[int, bytes]
_MICRO, _SECOND = 1000, 1_000_000_000
_NAME = 'resource.service.name = "'


@dataclass(frozen=True)
class Backend:
    """What a stub of a backend holds; `jaeger2`, `jaeger1` and `tempo` answer a path."""

    spans: Sequence[Span]

    @cached_property
    def traces(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for span in sorted(self.spans, key=lambda one: -one.start_ns):
            found.setdefault(span.trace_id, []).append(span)
        return found

    @property
    def services(self) -> list[str]:
        return sorted({span.service for span in self.spans})

    def search(self, service: str, start: int, end: int, most: int) -> list[list[Span]]:
        """Nanoseconds."""

        def fits(span: Span) -> bool:
            return start <= span.start_ns <= end and service in {"", span.service}

        return [trace for trace in self.traces.values() if any(map(fits, trace))][:most]

    def jaeger2(self, path: str) -> Answer:
        """As version 2.13 answers: it reads snake case alone."""
        asked = _asked(path)
        if path.startswith("/api/v3/services"):
            return _json({"services": self.services})
        if not path.startswith("/api/v3/traces?"):
            return 404, b"404 page not found"
        if "query.start_time_min" not in asked or "query.start_time_max" not in asked:
            said = "query.start_time_min and query.start_time_max are required"
            return 400, json.dumps({"error": {"httpCode": 400, "message": said}}).encode()
        start, end = (_ns(asked[f"query.start_time_{edge}"]) for edge in ("min", "max"))
        found = self.search(asked.get("query.service_name", ""), start, end, int(asked["query.num_traces"]))
        if not found:
            return 404, b'{"error": {"httpCode": 404, "message": "No traces found"}}'
        groups = [group for trace in found for span in trace for group in json.loads(line(span))["resourceSpans"]]
        return _json({"result": {"resourceSpans": groups}})

    def jaeger1(self, path: str) -> Answer:
        asked = _asked(path)
        if path.startswith("/api/services"):
            return _json({"data": self.services, "total": len(self.services), "errors": None})
        if not path.startswith("/api/traces?"):
            return 404, b"404 page not found"
        if "service" not in asked:
            return 400, b'{"errors": [{"code": 400, "msg": "parameter \'service\' is required"}]}'
        start, end = int(asked["start"]) * _MICRO, int(asked["end"]) * _MICRO
        found = self.search(asked["service"], start, end, int(asked["limit"]))
        return _json({"data": [jaeger_trace(trace) for trace in found] or None, "total": 0, "errors": None})

    def tempo(self, path: str) -> Answer:
        if path.startswith("/api/search/tag/service.name/values"):
            return _json({"tagValues": self.services, "metrics": {"inspectedBytes": "630188"}})
        if path.startswith("/api/traces/"):
            found = self.traces.get(path.rpartition("/")[2])
            return _json(tempo_trace(found)) if found else (404, b"")
        if not path.startswith("/api/search?"):
            return 404, b"404 page not found"
        asked = _asked(path)
        service = asked["q"].partition(_NAME)[2].partition('"')[0]
        start, end = int(asked["start"]) * _SECOND, int(asked["end"]) * _SECOND
        found_all = self.search(service, start, end, int(asked["limit"]))
        return _json({"traces": [_listed(trace) for trace in found_all], "metrics": {"completedJobs": 1}})


def _asked(path: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6) * _MICRO


def _json(document: object) -> Answer:
    return 200, json.dumps(document).encode()


def _listed(trace: Sequence[Span]) -> dict[str, Any]:
    first = min(trace, key=lambda span: span.start_ns)
    return {
        "traceID": first.trace_id.lstrip("0"),
        "rootServiceName": first.service,
        "rootTraceName": first.name,
        "startTimeUnixNano": str(first.start_ns),
        "durationMs": 1,
    }


def tempo_trace(trace: Sequence[Span]) -> dict[str, Any]:
    """As `/api/traces/{id}` answers: `batches`, ids in base64, kinds by name."""
    batches = []
    for span in trace:
        (batch,) = json.loads(line(span))["resourceSpans"]
        (written,) = batch["scopeSpans"][0]["spans"]
        for key in {"traceId", "spanId", "parentSpanId"} & written.keys():
            written[key] = base64.b64encode(bytes.fromhex(written[key])).decode()
        written["kind"] = f"SPAN_KIND_{span.kind.name}"
        batches.append(batch)
    return {"batches": batches}


def jaeger_trace(trace: Sequence[Span]) -> dict[str, Any]:
    """A process for each span: as many as Jaeger writes where resources differ."""
    return {
        "traceID": trace[0].trace_id,
        "spans": [_jaeger_span(span, f"p{number}") for number, span in enumerate(trace)],
        "processes": {f"p{number}": _process(span) for number, span in enumerate(trace)},
        "warnings": None,
    }


def _process(span: Span) -> dict[str, Any]:
    return {"serviceName": span.service, "tags": _tags(span.resource)}


def _jaeger_span(span: Span, process: str) -> dict[str, Any]:
    parent = {"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id}
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [parent] if span.parent_id else [],
        "startTime": span.start_ns // _MICRO,
        "duration": span.duration_ns // _MICRO,
        "tags": _tags((*span.attributes, ("span.kind", span.kind.value))),
        "logs": [],
        "processID": process,
        "warnings": None,
    }


def _tags(pairs: Attributes) -> list[dict[str, str]]:
    return [{"key": key, "type": "string", "value": value} for key, value in pairs]


def zipkin(span: Span) -> dict[str, Any]:
    """As a tracer sends it."""
    return {
        "traceId": span.trace_id,
        "id": span.span_id,
        "kind": span.kind.value.upper(),
        "name": span.name,
        "timestamp": span.start_ns // _MICRO,
        "duration": span.duration_ns // _MICRO,
        "localEndpoint": {"serviceName": span.service},
        "tags": dict(span.attributes),
    } | ({"parentId": span.parent_id} if span.parent_id else {})


def managed_service(spans: Sequence[Span]) -> dict[str, Any]:
    """Managed Service for OpenTelemetry's GetTrace: numbers as text, microseconds, lists under an entry's name."""
    written = []
    for span in spans:
        one = _aliyun(span, lambda tags: {"TagEntry": tags})
        one |= {"Timestamp": str(span.start_ns // _MICRO), "Duration": str(span.duration_ns // _MICRO)}
        written.append(one)
    return {"RequestId": "1E2B6A4C-6B83-4062-8B6F-AEEC1FC47DED", "Spans": {"Span": written}}


def arms(spans: Sequence[Span]) -> dict[str, Any]:
    """ARMS' GetTrace: milliseconds, a number for the kind of call."""
    written = []
    for span in spans:
        one = _aliyun(span, lambda tags: tags)
        one |= {"Timestamp": span.start_ns // 10**6, "Duration": span.duration_ns // 10**6}
        written.append(one | {"RpcType": {"server": 0, "client": 25}[span.kind.value]})
    return {"RequestId": "6A9AEA84-7186-4D8D-B498-4585C6A2****", "Spans": written}


def _aliyun(span: Span, listed: Callable[[list[dict[str, str]]], Any]) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in (*span.attributes, ("span.kind", span.kind.value))]
    return {
        "HaveStack": "false",
        "ParentSpanId": span.parent_id,
        "ServiceIp": "192.168.0.1",
        "ServiceName": span.service,
        "OperationName": span.name,
        "RpcId": "1.1",
        "TraceID": span.trace_id,
        "ResultCode": "200",
        "SpanId": span.span_id,
        "TagEntryList": listed(tags),
        "LogEventList": listed([]),
    }
