"""What listens on `--http`: pages, query API, the requester's calls, health."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grpc_tracing.store import query, query_tempo, query_v1, render
from grpc_tracing.store.auditing import Auditor
from grpc_tracing.store.bodies import RefusedError
from grpc_tracing.store.calls import CallLog, read_calls
from grpc_tracing.store.forward import Forwarder
from grpc_tracing.store.hosts import AllowedHosts
from grpc_tracing.store.live import Changes
from grpc_tracing.store.pages import Pages
from grpc_tracing.store.receive import CALLS, Receiver, reason_of
from grpc_tracing.store.standing import Standing
from grpc_tracing.store.store import TraceStore
from grpc_tracing.store.wholeness import judged_of

# Calls are small beside spans: an eighth of the spans' memory holds as many.
_CALLS_SHARE = 8
_HEADERS = {
    # All that a page needs is its own style sheet, script and event stream.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # What a page shows is true for a moment.
    "Cache-Control": "no-cache",
}


def application(
    store: TraceStore,
    receiver: Receiver,
    changes: Changes,
    hosts: tuple[str, ...],
    forwarder: Forwarder | None = None,
) -> Starlette:
    """`changes` is told here of every change; who ends the process ends it. `hosts` are allowed beside the loopback."""
    calls = CallLog(store.limits.traces, store.limits.size // _CALLS_SHARE)
    store.on_change(changes.tell)

    def state() -> dict[str, object]:
        return status(store, receiver, calls, forwarder)

    auditor = Auditor(store, changes)
    standing = Standing(store, calls, lambda: judged_of(auditor.last), changes)
    pages = Pages(store, standing, auditor, render.environment(), state)

    async def health(_: Request) -> Response:
        return JSONResponse(state())

    async def note(request: Request) -> Response:
        return await _note(request, calls, receiver, changes)

    async def problem(request: Request, error: Exception) -> Response:
        return await _problem(pages, request, error)

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/events", changes.stream),
            Route("/api/calls", note, methods=["POST"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            *query.routes(store),
            *query_v1.routes(store),
            *query_tempo.routes(store),
            *pages.routes(),
        ],
        middleware=[Middleware(_SafeHeaders), Middleware(AllowedHosts, allowed=hosts)],
        exception_handlers={HTTPException: problem},
    )


async def _note(request: Request, calls: CallLog, receiver: Receiver, changes: Changes) -> Response:
    """`POST /api/calls`, as calls.py has it; JSON's content type is asked for, which no other site's form can send."""
    try:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "use content-type application/json")
        async with receiver.bodies.read(request) as body:
            calls.add(await read_calls(body), len(body))
    except RefusedError as error:
        receiver.refuse(CALLS, reason_of(error))
        return JSONResponse({"error": str(error)}, error.status, error.headers)
    except (ClientDisconnect, ValueError) as error:
        receiver.refuse(CALLS, reason_of(error))
        return JSONResponse({"error": str(error)}, 400)
    changes.tell()
    return Response(status_code=202)


async def _problem(pages: Pages, request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": {"httpCode": code, "message": "no such call of the API"}}, code)
    return await pages.problem(code, "There is no such page", [f"Nothing is at {request.url.path[:200]}."])


def status(
    store: TraceStore, receiver: Receiver, calls: CallLog, forwarder: Forwarder | None = None
) -> dict[str, object]:
    """The store's state in numbers: what it holds, may hold, dropped and refused."""
    limits, counts = store.limits, store.counts
    return {
        "status": "serving",
        "traces": len(store),
        "spans": store.spans,
        "bytes": store.size,
        "calls": {"count": len(calls), "bytes": calls.size, "dropped": calls.dropped, "limit_bytes": calls.limits[1]},
        "limits": {"traces": limits.traces, "bytes": limits.size, "spans_per_trace": limits.spans_per_trace},
        "received": {"spans": counts.received},
        "dropped": {"traces": counts.dropped_traces, "spans": counts.dropped_spans},
        "refused": {"requests": dict(receiver.refused), "spans": receiver.rejected_spans},
        "forward": forwarder.state() if forwarder else None,
    }


class _SafeHeaders:
    """Puts the headers on every response, streams among them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
