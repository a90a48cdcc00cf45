"""The watch as a process: its ports, its work, its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from grpc_tracing.printable import one_line
from grpc_tracing.store import receive
from grpc_tracing.store.serving import asked_to_end, listen, name_of, serve_grpc, serve_http
from grpc_tracing.watch import web
from grpc_tracing.watch.backend import Polling
from grpc_tracing.watch.core import Known
from grpc_tracing.watch.listening import settling, stepping
from grpc_tracing.watch.live import Live, say
from grpc_tracing.watch.options import Options
from grpc_tracing.watch.otlp_metrics import Sending


async def run(options: Options) -> None:
    """Watches until SIGTERM or SIGINT. Raises TakenError, and then does nothing."""
    live = Live(Known(options.bounds, options.sampling))
    stop = asked_to_end()
    if options.otlp:
        live.after.append(Sending(live, options.otlp, options.otlp_headers).send)
    async with AsyncExitStack() as stack:
        scraped = stack.enter_context(listen(options.metrics))
        taking = await _intake(stack, live, options)
        await stack.enter_async_context(serve_http(web.application(live), scraped))
        for work in _work(live, options):
            await stack.enter_async_context(_beside(work, stop))
        say(f"watching {taking}; metrics on http://{name_of(scraped)}/metrics")
        say(_first(options))
        await stop.wait()
        say("ends")


async def _intake(stack: AsyncExitStack, live: Live, options: Options) -> str:
    """Listens for spans, where it is to; says where they come from."""
    taking = [one_line(options.source.url)] if options.source else []
    if options.grpc:
        bound = await stack.enter_async_context(serve_grpc(live.receiver, options.grpc))
        taking.append(f"OTLP over gRPC on {bound}")
    if options.http:
        listener = stack.enter_context(listen(options.http))
        await stack.enter_async_context(serve_http(receive.application(live.receiver), listener))
        taking.append(f"OTLP over HTTP on {name_of(listener)}")
    return " and ".join(taking)


def _first(options: Options) -> str:
    """What a start costs."""
    window, step = options.bounds.window, options.bounds.step
    if options.source:
        return f"the last {window:g} s are read first; they are judged, and count for no counter"
    return f"the window is empty: verdicts stand on less than {window:g} s until then, the first comes in {step:g} s"


def _work(live: Live, options: Options) -> list[Coroutine[Any, Any, None]]:
    if options.source:
        return [Polling(live, options.source, options.api).run()]
    return [settling(live), stepping(live)]


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> AsyncIterator[None]:
    """Runs it until the block ends; where it fails, the process ends with it."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            sys.stderr.write("grpc-tracing watch: ended by an error\n")
            raise error
