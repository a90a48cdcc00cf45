"""The store as a process: its ports, its background work, its end."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from grpc import aio
from starlette.applications import Starlette

from grpc_tracing.store import receive, web
from grpc_tracing.store.connections import Bounded, Connection
from grpc_tracing.store.live import Changes
from grpc_tracing.store.options import Address, Options
from grpc_tracing.store.receive import Receiver
from grpc_tracing.store.receive_grpc import grpc_server
from grpc_tracing.store.store import TraceStore, settled
from grpc_tracing.store.tail import Tail

# How long an answer in flight may take once the process is asked to end, in seconds.
_GRACE = 1


class TakenError(Exception):
    """An address cannot be listened on; the text names the option that moves it."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}; {address.option} HOST:PORT chooses another")


async def run(options: Options) -> None:
    """Serves until SIGTERM or SIGINT. Raises TakenError, and then serves nothing."""
    store = TraceStore(options.limits)
    tail = Tail(store, options.tail)
    receiver = Receiver(tail)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    changes = Changes()
    pages = web.application(store, receiver, changes, options.allowed_hosts)
    intake = receive.application(receiver)
    async with AsyncExitStack() as stack:
        sockets = {"http": stack.enter_context(_listen(options.http))}
        sockets["otlp_http"] = stack.enter_context(_listen(options.otlp_http))
        if options.zipkin:
            sockets["zipkin"] = stack.enter_context(_listen(options.zipkin))
        bound = {name: _name(listener) for name, listener in sockets.items()}
        bound["otlp_grpc"] = await stack.enter_async_context(_serve_grpc(receiver, options.otlp_grpc))
        for name, listener in sockets.items():
            await stack.enter_async_context(_serve_http(pages if name == "http" else intake, listener))
        await stack.enter_async_context(_settling(store))
        await stack.enter_async_context(tail.released())
        sys.stderr.write(json.dumps({"event": "listening", **bound}) + "\n")
        await stop.wait()
        changes.end()


@contextmanager
def _listen(address: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
            listener.listen(1024)
        except OSError as error:
            raise TakenError(address, (error.strerror or str(error)).lower()) from error
        yield listener


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return str(Address("", host, port))


class _HttpServer(uvicorn.Server):
    """Leaves the signals to the process, in which it is one server of several."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def _serve_http(application: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        Bounded(application),
        http=Connection,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _HttpServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def _serve_grpc(receiver: Receiver, address: Address) -> AsyncIterator[str]:
    server: aio.Server = grpc_server(receiver)
    # Tried with a socket first: gRPC says why it cannot only in its own log.
    with _listen(address):
        pass
    try:
        port = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise TakenError(address, "address already in use") from error
    await server.start()
    try:
        yield str(Address("", address.host, port))
    finally:
        await server.stop(_GRACE)


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
