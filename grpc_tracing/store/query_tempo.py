"""Tempo's query API, as far as Grafana's Tempo data source asks it.

Read in Grafana's source (github.com/grafana/grafana-tempo-datasource: pkg/tempo, src) and in Tempo's API documentation.
Times are seconds.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store import traceql
from grpc_tracing.store.query import MAX_DEPTH, BadParameterError
from grpc_tracing.store.store import TraceStore, read_trace
from grpc_tracing.store.traceql import INTRINSICS, Spot, TraceQlError

PROTOBUF: Final = "application/protobuf"
VERSION: Final = "2.1.0"
"""Of Tempo, whose API this is: from 2.2 on Grafana would ask by gRPC for answers that come in parts."""
_SECOND: Final = 1_000_000_000
_LIMIT, _SPANS = 20, 3
"""Traces of an answer and spans of each, where none are asked for, as Tempo's."""
_MOST_TAGS: Final = 5000
_MILLI: Final = 1_000_000
_SCOPES: Final = frozenset({"resource", "span"})
_KEYWORDS: Final = frozenset({"kind", "status"})


class Search(NamedTuple):
    """What a search asks for; times in Unix nanoseconds."""

    fits: traceql.Filter
    start: int
    end: int
    limit: int
    spans: int


def routes(store: TraceStore) -> list[BaseRoute]:
    """The API over this store."""
    api = _Api(store)
    return [
        Route("/api/echo", api.echo),
        Route("/api/status/buildinfo", api.buildinfo),
        Route("/api/v2/traces/{trace_id}", api.trace),
        Route("/api/search", api.search),
        Route("/api/search/tags", api.tag_names),
        Route("/api/v2/search/tags", api.scopes),
        Route("/api/search/tag/{tag:path}/values", api.values),
        Route("/api/v2/search/tag/{tag:path}/values", api.typed_values),
    ]


def wants_protobuf(request: Request) -> bool:
    """How Grafana's Tempo data source asks for a trace; whoever else asks at that path means Jaeger's API."""
    return PROTOBUF in request.headers.get("accept", "")


def as_protobuf(chunks: Sequence[bytes]) -> Response:
    """Tempo's message Trace, in which the spans have the same field as in OTLP's TracesData."""
    return Response(otlp.joined(chunks), media_type=PROTOBUF)


def parse_search(params: QueryParams, now: float) -> Search:
    """`now` in Unix seconds. Raises BadParameterError, and TraceQlError for a query that is not read here."""
    if params.get("tags") or params.get("minDuration") or params.get("maxDuration"):
        raise BadParameterError("tags, minDuration and maxDuration are not read here: ask by q, in TraceQL")
    start, end = _number(params, "start", 0), _number(params, "end", 0)
    return Search(
        traceql.parse(params.get("q", "")),
        start * _SECOND,
        (end or int(now) + 1) * _SECOND,
        min(_number(params, "limit", _LIMIT) or _LIMIT, MAX_DEPTH),
        _number(params, "spss", _SPANS) or MAX_DEPTH,
    )


def _number(params: QueryParams, name: str, otherwise: int) -> int:
    text = params.get(name) or str(otherwise)
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise BadParameterError(f"invalid {name}: {text[:40]!r} is no whole number")
    return int(text)


class _Api:
    def __init__(self, store: TraceStore) -> None:
        self._store = store

    async def echo(self, _: Request) -> Response:
        return PlainTextResponse("echo")

    async def buildinfo(self, _: Request) -> Response:
        return JSONResponse({"version": VERSION, "revision": "grpc-tracing store"})

    async def trace(self, request: Request) -> Response:
        text = request.path_params["trace_id"].lower()
        if not re.fullmatch("[0-9a-f]{1,32}", text):
            return _refused("trace IDs can only contain hex characters, 32 at most")
        chunks = self._store.chunks(text.zfill(32))
        if not chunks:
            return PlainTextResponse("trace not found", 404)
        if wants_protobuf(request):
            return Response(otlp.field_1(otlp.joined(chunks)), media_type=PROTOBUF)
        return JSONResponse({"trace": await asyncio.to_thread(otlp.to_json, chunks)})

    async def search(self, request: Request) -> Response:
        try:
            search = parse_search(request.query_params, time.time())
        except TraceQlError as error:
            return _refused(f"invalid TraceQL query: {error}")
        except BadParameterError as error:
            return _refused(str(error))
        held = _held(self._store, search)
        return JSONResponse({"traces": await asyncio.to_thread(_found, held, search), "metrics": {}})

    async def tag_names(self, request: Request) -> Response:
        tags = await self._tags()
        return JSONResponse({"tagNames": sorted({*tags["resource"], *tags["span"]})[: _limit(request)]})

    async def scopes(self, request: Request) -> Response:
        tags = await self._tags()
        asked = request.query_params.get("scope") or "none"
        named = {**tags, "intrinsic": list(INTRINSICS)}
        return JSONResponse(
            {
                "scopes": [
                    {"name": scope, "tags": sorted(names)[: _limit(request)]}
                    for scope, names in named.items()
                    if asked in {"none", scope}
                ]
            }
        )

    async def _tags(self) -> dict[str, set[str]]:
        return await asyncio.to_thread(_tags, [self._store.chunks(trace_id) for trace_id in self._store.ids()])

    async def values(self, request: Request) -> Response:
        found = await self._values(request)
        return found if isinstance(found, Response) else JSONResponse({"tagValues": [value for _, value in found]})

    async def typed_values(self, request: Request) -> Response:
        found = await self._values(request)
        if isinstance(found, Response):
            return found
        return JSONResponse({"tagValues": [{"type": kind, "value": value} for kind, value in found]})

    async def _values(self, request: Request) -> list[tuple[str, str]] | Response:
        """The values of a tag in the spans that fit the query, with their types."""
        # Grafana escapes it twice. A name alone is an attribute's, as in Tempo's first version of this call.
        tag = unquote(request.path_params["tag"])
        tag = tag if tag in INTRINSICS or tag.partition(".")[0] in _SCOPES or tag.startswith(".") else f".{tag}"
        try:
            search = parse_search(request.query_params, time.time())
            found = await asyncio.to_thread(_values_of, _held(self._store, search), tag, search)
        except TraceQlError as error:
            return _refused(f"invalid TraceQL query: {error}")
        except BadParameterError as error:
            return _refused(str(error))
        return found[: _limit(request)]


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "")
    return min(int(text), _MOST_TAGS) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else _MOST_TAGS


_Held = Sequence[Sequence[bytes]]
"""The spans of traces, as the store keeps them."""


def _held(store: TraceStore, search: Search) -> _Held:
    """Of the traces that touch the time asked for, the newest first."""
    return [
        store.chunks(one.trace_id)
        for one in store.summaries()
        if one.start_ns <= search.end and one.start_ns + one.duration_ns >= search.start
    ]


def _found(held: _Held, search: Search) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for trace in map(read_trace, held):
        if spans := [span for span in trace.spans if search.fits(Spot(span, trace))]:
            found.append(_told(trace, spans, search.spans))
        if len(found) == search.limit:
            break
    return found


def _told(trace: Trace, spans: Sequence[Span], most: int) -> dict[str, Any]:
    root = trace.tops[0]
    matched = {"spans": [_told_span(span) for span in spans[:most]], "matched": len(spans)}
    return {
        "traceID": trace.trace_id,
        "rootServiceName": "<root span not yet received>" if root.parent_id else root.service,
        "rootTraceName": "" if root.parent_id else root.name,
        "startTimeUnixNano": str(trace.start_ns),
        "durationMs": trace.duration_ns // _MILLI,
        "spanSet": matched,
        "spanSets": [matched],
    }


def _told_span(span: Span) -> dict[str, Any]:
    facts = {"service.name": span.service, "status": traceql.status(span)}
    return {
        "spanID": span.span_id,
        "name": span.name,
        "startTimeUnixNano": str(span.start_ns),
        "durationNanos": str(span.duration_ns),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in facts.items()],
    }


def _tags(held: _Held) -> dict[str, set[str]]:
    """By scope."""
    found: dict[str, set[str]] = {"resource": set(), "span": set()}
    for trace in map(read_trace, held):
        for span in trace.spans:
            found["resource"].update(key for key, _ in span.resource)
            found["span"].update(key for key, _ in span.attributes)
    return found


def _values_of(held: _Held, field: str, search: Search) -> list[tuple[str, str]]:
    """Their types and texts, of the spans that fit. Raises TraceQlError for what is no field."""
    read, kind = traceql.reader(field), "keyword" if field in _KEYWORDS else "string"
    found: set[str] = set()
    for trace in map(read_trace, held):
        spots = (Spot(span, trace) for span in trace.spans)
        found.update(str(value) for spot in spots if search.fits(spot) and (value := read(spot)) is not None)
        if len(found) > _MOST_TAGS:
            break
    return [(kind, value) for value in sorted(found)]


def _refused(text: str) -> Response:
    return PlainTextResponse(text, 400)
