"""What the store serves to people and to the requester: pages, query API, health."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from traces import query
from traces.receive import Receiver
from traces.store import TraceStore


def application(store: TraceStore, receiver: Receiver) -> Starlette:
    """What listens on `--http`."""

    async def health(_: Request) -> Response:
        return JSONResponse(status(store, receiver))

    return Starlette(routes=[Route("/healthz", health), *query.routes(store)])


def status(store: TraceStore, receiver: Receiver) -> dict[str, object]:
    """The store's state in numbers: what it holds, may hold, dropped and refused."""
    limits, counts = store.limits, store.counts
    return {
        "status": "serving",
        "traces": len(store),
        "spans": store.spans,
        "bytes": store.size,
        "limits": {"traces": limits.traces, "bytes": limits.size, "spans_per_trace": limits.spans_per_trace},
        "received": {"spans": counts.received},
        "dropped": {"traces": counts.dropped_traces, "spans": counts.dropped_spans},
        "refused": {"requests": dict(receiver.refused), "spans": receiver.rejected_spans},
    }
