"""The pages of one trace: its waterfall, in parts where it is long, one span by itself, a search, its spans as OTLP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from grpc_tracing.store import views
from grpc_tracing.store.drawings import Drawing, Drawings
from grpc_tracing.store.finding import found
from grpc_tracing.store.query import otlp_document
from grpc_tracing.store.standing import Seen
from grpc_tracing.store.store import TraceStore
from grpc_tracing.store.trace_status import TraceStatus
from grpc_tracing.store.views_call import CallView
from grpc_tracing.store.waterfall import for_page

_KEPT = ("clocks", "find")


class Write(Protocol):
    """Makes an answer of a template and of the view that this function gives, in a thread."""

    def __call__(
        self, request: Request, template: str, view: Callable[[], object], **values: object
    ) -> Awaitable[Response]: ...


class TracePages:
    """`gone` answers for a trace that is not here, `missing` for a span.

    `call` tells what the pieces of a trace's call have to do with it.
    """

    def __init__(
        self,
        store: TraceStore,
        *,
        see: Callable[[], Awaitable[Seen]],
        write: Write,
        gone: Callable[[Request, str], Awaitable[Response]],
        missing: Callable[[str], Awaitable[Response]],
        call: Callable[[Seen, TraceStatus, str], Awaitable[CallView]],
    ) -> None:
        self._store = store
        self._see = see
        self._write = write
        self._gone = gone
        self._missing = missing
        self._call = call
        self._drawings = Drawings()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/trace/{trace_id}", self.trace),
            Route("/trace/{trace_id}/rows", self.rows),
            Route("/trace/{trace_id}/find", self.find),
            Route("/trace/{trace_id}/span/{key}", self.span),
            Route("/trace/{trace_id}/otlp.json", self.otlp),
        ]

    async def trace(self, request: Request) -> Response:
        """`row`: the first one, from 0; `find`: what its spans are searched for."""
        drawn = await self._drawn(request)
        if drawn is None:
            return await self._gone(request, _id(request))
        seen, trace_id = await self._see(), drawn.trace.trace_id
        status = seen.statuses.get(trace_id)
        if status is None:  # it was dropped meanwhile
            return await self._gone(request, trace_id)
        family = {one: seen.by_id[one] for one in (trace_id, *status.siblings)}
        call = await self._call(seen, status, trace_id)
        first, find = _first(request), request.query_params.get("find", "")

        def view() -> views.TraceView:
            return views.trace_page(drawn, family, status, first, find)

        asked = {name: value for name in _KEPT if (value := request.query_params.get(name, ""))}
        return await self._write(request, "trace.html", view, page="Traces", asked=asked, find=find, call=call)

    async def rows(self, request: Request) -> Response:
        """Some rows, for the script of a page that shows the first ones."""
        drawn = await self._drawn(request)
        if drawn is None:
            return await self._gone(request, _id(request))
        rows = for_page(drawn.fall, _first(request))
        return await self._write(request, "rows.html", lambda: rows, trace=drawn.trace)

    async def find(self, request: Request) -> Response:
        """The places of the rows that a search finds, as JSON."""
        drawn = await self._drawn(request)
        if drawn is None:
            return await self._gone(request, _id(request))
        text = request.query_params.get("find", "")
        return JSONResponse({"rows": await asyncio.to_thread(found, drawn.trace, drawn.fall.bars, text)})

    async def span(self, request: Request) -> Response:
        drawn = await self._drawn(request)
        if drawn is None:
            return await self._gone(request, _id(request))
        view = views.span_view(drawn, request.path_params["key"])
        if view is None:
            return await self._missing(request.path_params["key"])
        return await self._write(request, "span.html", lambda: view, page="Traces")

    async def otlp(self, request: Request) -> Response:
        trace_id = _id(request)
        chunks = self._store.chunks(trace_id)
        if not chunks:
            return await self._gone(request, trace_id)
        named = {"content-disposition": f'attachment; filename="{trace_id}.json"'}
        return StreamingResponse(otlp_document(chunks), media_type="application/json", headers=named)

    async def _drawn(self, request: Request) -> Drawing | None:
        trace_id = _id(request)
        chunks = self._store.chunks(trace_id)
        reported = request.query_params.get("clocks") == "raw"
        if not chunks:
            return None
        return await asyncio.to_thread(lambda: self._drawings.of(trace_id, chunks, reported=reported))


def _id(request: Request) -> str:
    found_id: str = request.path_params["trace_id"].lower()
    return found_id


def _first(request: Request) -> int:
    text = request.query_params.get("row", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
