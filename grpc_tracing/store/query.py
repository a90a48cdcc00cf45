"""Jaeger's v3 query API, so that whoever asks this store asks a real Jaeger 2 in the same words.

Read in Jaeger's source (jaegerquery/internal/apiv3: query_parser.go, http_gateway.go).
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from grpc_tracing import values
from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.store import TraceStore
from grpc_tracing.store.summary import Summary

MAX_DEPTH = 1000
"""Traces in one answer."""


class BadParameterError(ValueError):
    """Names the parameter and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for; durations and times in nanoseconds."""

    start_min: int
    start_max: int
    service: str
    operation: str
    duration_min: int
    duration_max: int
    depth: int
    attributes: tuple[tuple[str, str], ...]


def parse_query(params: QueryParams) -> Query:
    """Raises BadParameterError. Every name is accepted in camel case and in snake case, as Jaeger does."""
    if not (_get(params, "startTimeMin") and _get(params, "startTimeMax")):
        raise BadParameterError("query.startTimeMin and query.startTimeMax are required")
    return Query(
        start_min=_time(params, "startTimeMin"),
        start_max=_time(params, "startTimeMax"),
        service=_get(params, "serviceName"),
        operation=_get(params, "operationName"),
        duration_min=_duration(params, "durationMin") or 0,
        duration_max=_duration(params, "durationMax") or 2**63,
        depth=_depth(params),
        attributes=_attributes(params),
    )


def _get(params: QueryParams, name: str) -> str:
    snake = re.sub(r"([A-Z])", r"_\1", name).lower()
    return params.get(f"query.{name}") or params.get(f"query.{snake}") or ""


def _time(params: QueryParams, name: str) -> int:
    text = _get(params, name)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise BadParameterError(f"malformed parameter query.{name}: {text!r} is no time such as 2026-01-31T10:00:00Z")
    return int(when.timestamp() * 1e6) * 1000


def _duration(params: QueryParams, name: str) -> int | None:
    text = _get(params, name)
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadParameterError(f"malformed parameter query.{name}: {error}") from error


def parse_duration(text: str) -> int:
    """Go's spelling of durations (`1.5s`, `100ms`, `1m30s`), in nanoseconds. Raises ValueError."""
    return round(values.duration(text) * 1e9)


def _depth(params: QueryParams) -> int:
    text = _get(params, "searchDepth") or _get(params, "numTraces") or "100"
    if not text.isascii() or not text.isdigit():
        raise BadParameterError(f"malformed parameter query.searchDepth: {text!r} is no number")
    return min(int(text[:10]), MAX_DEPTH)


def _attributes(params: QueryParams) -> tuple[tuple[str, str], ...]:
    text = _get(params, "attributes")
    try:
        pairs = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise BadParameterError('malformed parameter query.attributes: use JSON such as {"http.status_code":"200"}')
    return tuple(pairs.items())


def matches(trace: Trace, query: Query) -> bool:
    """As Jaeger's memory storage has it: one span must fit in everything that is asked."""
    return any(_span_matches(span, query) for span in trace.spans)


def _span_matches(span: Span, query: Query) -> bool:
    return (
        query.service in {"", span.service}
        and query.operation in {"", span.name}
        and query.start_min <= span.start_ns <= query.start_max
        and query.duration_min <= span.duration_ns <= query.duration_max
        and set(query.attributes) <= {*span.attributes, *span.resource}
    )


def routes(store: TraceStore) -> list[BaseRoute]:
    """The API over this store."""
    api = _Api(store)
    return [
        Route("/api/v3/traces/{trace_id}", api.trace),
        Route("/api/v3/traces", api.traces),
        Route("/api/v3/services", api.services),
        Route("/api/v3/operations", api.operations),
    ]


class _Api:
    def __init__(self, store: TraceStore) -> None:
        self._store = store

    async def trace(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        if not re.fullmatch("[0-9a-f]{32}", trace_id):
            return _error(400, "malformed parameter trace_id: a trace id has 32 hex digits")
        chunks = self._store.chunks(trace_id)
        return _result(chunks)

    async def traces(self, request: Request) -> Response:
        try:
            query = parse_query(request.query_params)
        except BadParameterError as error:
            return _error(400, str(error))
        chunks = [chunk for trace_id in await search(self._store, query) for chunk in self._store.chunks(trace_id)]
        return _result(chunks)

    async def services(self, _: Request) -> Response:
        return JSONResponse({"services": services(self._store)})

    async def operations(self, request: Request) -> Response:
        asked = request.query_params.get("service", "")
        kind = request.query_params.get("spanKind") or request.query_params.get("span_kind") or ""
        if not asked:
            return _error(400, "malformed parameter service: it is required")
        found = sorted(
            (name, its_kind)
            for service, name, its_kind in operations(self._store)
            if service == asked and kind.lower() in {"", its_kind}
        )
        return JSONResponse({"operations": [{"name": name, "spanKind": its_kind} for name, its_kind in found]})


async def search(store: TraceStore, query: Query) -> list[str]:
    """The ids of the traces that match, the newest first."""
    found: list[str] = []
    for number, summary in enumerate(tuple(store.summaries())):
        if len(found) == query.depth:
            break
        # Spans go on coming in while thousands of traces are searched.
        await asyncio.sleep(0) if number % 100 == 99 else None
        if _may_match(summary, query):
            trace = store.trace(summary.trace_id)
            found += [summary.trace_id] if trace and matches(trace, query) else []
    return found


def operations(store: TraceStore) -> set[tuple[str, str, Kind]]:
    """Service, name and kind of all spans."""
    return {operation for summary in store.summaries() for operation in summary.operations}


def services(store: TraceStore) -> list[str]:
    """By name."""
    return sorted({service for service, _, _ in operations(store)})


def _may_match(summary: Summary, query: Query) -> bool:
    return (
        summary.start_ns <= query.start_max
        and summary.start_ns + summary.duration_ns >= query.start_min
        and (not query.service or any(query.service == service for service, _, _ in summary.operations))
    )


def _result(chunks: Sequence[bytes]) -> Response:
    if not chunks:
        return _error(404, "No traces found")
    # A chunk at a time, which Starlette does in a thread: as JSON, spans take ten times the memory, and long to write.
    return StreamingResponse(_document(chunks), media_type="application/json")


def _document(chunks: Sequence[bytes]) -> Iterator[str]:
    yield '{"result":'
    yield from otlp_document(chunks)
    yield "}"


def otlp_document(chunks: Sequence[bytes]) -> Iterator[str]:
    """OTLP's JSON, as an exporter sends it, piece by piece."""
    yield '{"resourceSpans":['
    for place, chunk in enumerate(chunks):
        (resource,) = otlp.to_json([chunk])["resourceSpans"]
        yield "," * bool(place) + json.dumps(resource, separators=(",", ":"))
    yield "]}"


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"httpCode": status, "message": message}}, status)
