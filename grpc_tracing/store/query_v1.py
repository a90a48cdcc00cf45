"""Jaeger's first query API, which Jaeger's own pages and Grafana's Jaeger data source ask.

Read in Jaeger's source (cmd/query/app: query_parser.go, http_handler.go). Times are microseconds.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from grpc_tracing.spans.formats import jaeger
from grpc_tracing.spans.formats.otlp import read_chunk
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store import query_tempo
from grpc_tracing.store.query import (
    MAX_DEPTH,
    BadParameterError,
    Query,
    operations,
    parse_duration,
    search,
    services,
)
from grpc_tracing.store.store import TraceStore

_LOOKBACK = 2 * 24 * 3600
"""Seconds, as Jaeger's."""
_MICRO, _MILLI = 1_000, 1_000_000


def routes(store: TraceStore) -> list[BaseRoute]:
    """The API over this store."""
    api = _Api(store)
    return [
        Route("/api/traces/{trace_id}", api.trace),
        Route("/api/traces", api.traces),
        Route("/api/services", api.services),
        Route("/api/services/{service:path}/operations", api.operation_names),
        Route("/api/operations", api.operations),
        Route("/api/dependencies", api.dependencies),
    ]


def parse_query(params: QueryParams, now: float) -> Query:
    """`now` in Unix seconds. Raises BadParameterError."""
    if not params.get("service"):
        raise BadParameterError("parameter 'service' is required")
    return Query(
        start_min=_time(params, "start", now - _LOOKBACK),
        start_max=_time(params, "end", now),
        service=params["service"],
        operation=params.get("operation", ""),
        duration_min=_duration(params, "minDuration") or 0,
        duration_max=_duration(params, "maxDuration") or 2**63,
        depth=_limit(params),
        attributes=_tags(params),
    )


def _time(params: QueryParams, name: str, otherwise: float) -> int:
    text = params.get(name) or str(int(otherwise * 1e6))
    if not re.fullmatch(r"\d{1,18}", text):
        raise BadParameterError(f"unable to parse param '{name}': {text!r} is no number of microseconds")
    return int(text) * _MICRO


def _duration(params: QueryParams, name: str) -> int | None:
    try:
        return parse_duration(params[name]) if params.get(name) else None
    except ValueError as error:
        raise BadParameterError(f"unable to parse param '{name}': {error}") from error


def _limit(params: QueryParams) -> int:
    text = params.get("limit") or "100"
    if not re.fullmatch(r"\d{1,9}", text):
        raise BadParameterError(f"unable to parse param 'limit': {text!r} is no number")
    return min(int(text), MAX_DEPTH)


def _tags(params: QueryParams) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in params.getlist("tag"):
        key, colon, value = text.partition(":")
        if not colon:
            raise BadParameterError(f"malformed 'tag' parameter, expecting key:value, received: {text}")
        found[key] = value
    for text in params.getlist("tags"):
        found |= _map(text)
    return tuple(found.items())


def _map(text: str) -> dict[str, str]:
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise BadParameterError("malformed 'tags' parameter, cannot unmarshal JSON")
    return pairs


class _Api:
    def __init__(self, store: TraceStore) -> None:
        self._store = store

    async def trace(self, request: Request) -> Response:
        try:
            chunks = self._store.chunks(_trace_id(request.path_params["trace_id"]))
        except BadParameterError as error:
            return _error(400, str(error))
        if chunks and query_tempo.wants_protobuf(request):
            return query_tempo.as_protobuf(chunks)
        return _traces([chunks]) if chunks else _error(404, "trace not found")

    async def traces(self, request: Request) -> Response:
        """By ids where there are any, as Jaeger has it, else those that match."""
        params = request.query_params
        try:
            ids = [_trace_id(one) for one in params.getlist("traceID")[:MAX_DEPTH]]
            ids = ids or await search(self._store, parse_query(params, time.time()))
        except BadParameterError as error:
            return _error(400, str(error))
        return _traces([chunks for one in ids if (chunks := self._store.chunks(one))])

    async def services(self, _: Request) -> Response:
        return _data(services(self._store))

    async def operation_names(self, request: Request) -> Response:
        asked = request.path_params["service"]
        return _data(sorted({name for service, name, _ in operations(self._store) if service == asked}))

    async def operations(self, request: Request) -> Response:
        asked, kind = request.query_params.get("service", ""), request.query_params.get("spanKind", "")
        if not asked:
            return _error(400, "parameter 'service' is required")
        found = sorted(
            (name, its_kind.value)
            for service, name, its_kind in operations(self._store)
            if service == asked and kind in {"", its_kind}
        )
        return _data([{"name": name, "spanKind": its_kind} for name, its_kind in found])

    async def dependencies(self, request: Request) -> Response:
        """Who called whom, and how often, in the traces that began in the time asked for, in milliseconds."""
        params = request.query_params
        texts = params.get("endTs") or str(int(time.time() * 1000)), params.get("lookback") or "86400000"
        if not all(re.fullmatch(r"\d{1,15}", text) for text in texts):
            return _error(400, "unable to parse params 'endTs' and 'lookback': they are milliseconds")
        end, lookback = (int(text) * _MILLI for text in texts)
        calls = Counter[tuple[str, str]]()
        for summary in tuple(self._store.summaries()):
            if end - lookback <= summary.start_ns <= end:
                calls.update((edge.caller, edge.callee) for edge in summary.edges)
        asked = params.get("service", "")
        return _data(
            [
                {"parent": parent, "child": child, "callCount": count}
                for (parent, child), count in sorted(calls.items())
                if asked in {"", parent, child}
            ],
            total=0,
        )


def _trace_id(text: str) -> str:
    """Leading zeros may be left out, as Jaeger does."""
    if not re.fullmatch("[0-9a-f]{1,32}", text.lower()):
        raise BadParameterError(f"cannot parse traceID param: {text[:40]!r} is not up to 32 hex digits")
    return text.lower().zfill(32)


def _traces(found: Sequence[Sequence[bytes]]) -> Response:
    # A trace at a time, which Starlette does in a thread: as JSON, spans take ten times the memory, and long to write.
    return StreamingResponse(_document(found), media_type="application/json")


def _document(found: Sequence[Sequence[bytes]]) -> Iterator[str]:
    yield '{"data":['
    for place, chunks in enumerate(found):
        spans = assemble(span for chunk in chunks for span in read_chunk(chunk)).spans
        yield "," * bool(place) + json.dumps(jaeger.trace_of(spans), separators=(",", ":"))
    yield '],"total":0,"limit":0,"offset":0,"errors":null}'


def _data(data: Sequence[Any], total: int | None = None) -> Response:
    count = len(data) if total is None else total
    return JSONResponse({"data": data, "total": count, "limit": 0, "offset": 0, "errors": None})


def _error(status: int, message: str) -> Response:
    errors = [{"code": status, "msg": message}]
    return JSONResponse({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}, status)
