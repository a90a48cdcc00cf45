"""The store as a process: its ports, its background work, its end."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from grpc_tracing.store import receive, web
from grpc_tracing.store.forward import Forwarder
from grpc_tracing.store.live import Changes
from grpc_tracing.store.options import Options
from grpc_tracing.store.receive import Chunks, Receiver
from grpc_tracing.store.serving import asked_to_end, listen, name_of, serve_grpc, serve_http
from grpc_tracing.store.store import TraceStore, settled
from grpc_tracing.store.tail import Tail


async def run(options: Options) -> None:
    """Serves until SIGTERM or SIGINT. Raises TakenError, and then serves nothing."""
    store = TraceStore(options.limits)
    tail = Tail(store, options.tail)
    forwarder = Forwarder(options.forward) if options.forward else None
    receiver = Receiver(Chunks(tail, forwarder))
    stop = asked_to_end()
    changes = Changes()
    pages = web.application(store, receiver, changes, options.allowed_hosts, forwarder)
    intake = receive.application(receiver)
    async with AsyncExitStack() as stack:
        if forwarder:  # before the servers, and so after their end
            await stack.enter_async_context(forwarder.running())
        sockets = {"http": stack.enter_context(listen(options.http))}
        sockets["otlp_http"] = stack.enter_context(listen(options.otlp_http))
        if options.zipkin:
            sockets["zipkin"] = stack.enter_context(listen(options.zipkin))
        bound = {name: name_of(listener) for name, listener in sockets.items()}
        bound["otlp_grpc"] = await stack.enter_async_context(serve_grpc(receiver, options.otlp_grpc))
        for name, listener in sockets.items():
            await stack.enter_async_context(serve_http(pages if name == "http" else intake, listener))
        await stack.enter_async_context(_settling(store))
        await stack.enter_async_context(tail.released())
        sys.stderr.write(json.dumps({"event": "listening", **bound}) + "\n")
        await stop.wait()
        changes.end()


@asynccontextmanager
async def _settling(store: TraceStore) -> AsyncIterator[None]:
    """Summarizes what changed, in the background and in small bites."""
    changed = asyncio.Event()
    store.on_change(changed.set)

    async def settle() -> None:
        while True:
            await changed.wait()
            changed.clear()
            # The sidecars of one call report one after the other: a summary at each span would be thrown away.
            await asyncio.sleep(0.2)
            await settled(store)

    task = asyncio.create_task(settle())
    try:
        yield
    finally:
        task.cancel()
