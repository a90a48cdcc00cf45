"""What listens on `--metrics`: the scrape, and whether it lives and is ready."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from grpc_tracing.watch.live import Live
from grpc_tracing.watch.metrics import Shown


def application(live: Live) -> Starlette:
    """`/metrics`, `/healthz`, `/readyz`."""
    registry = CollectorRegistry()
    registry.register(Shown(live))
    ProcessCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": kind})

    async def health(_: Request) -> Response:
        return JSONResponse(state(live))

    async def ready(_: Request) -> Response:
        if live.known.audit is None:
            bounds = live.known.bounds
            text = f"not ready: nothing is judged yet; the first step of {bounds.step:g} s has to end\n"
            return PlainTextResponse(text, 503)
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", health), Route("/readyz", ready)],
    )


def state(live: Live) -> dict[str, object]:
    """In a few words; the metrics say it all."""
    known = live.known
    return {
        "status": "watching" if known.audit else "starting",
        "verdict": known.audit.verdict if known.audit else None,
        "blind_seconds": round(live.sight.blind(live.clock()), 1),
        "window_seconds": known.bounds.window,
        "window_held_seconds": round(known.window.held, 1),
        "spans": known.spans,
        "dropped": {reason.value: count for reason, count in known.dropped.items()},
    }
