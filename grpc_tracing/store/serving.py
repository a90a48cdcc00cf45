"""Servers of one process: their ports, their end."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
import uvloop
from grpc import aio
from starlette.applications import Starlette

from grpc_tracing.store.connections import Bounded, Connection
from grpc_tracing.store.options import Address
from grpc_tracing.store.receive import Receiver
from grpc_tracing.store.receive_grpc import grpc_server

# How long an answer in flight may take once the process is asked to end, in seconds.
_GRACE = 1


class TakenError(Exception):
    """An address cannot be listened on; the text names the option that moves it."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}; {address.option} HOST:PORT chooses another")


def served(program: str, work: Coroutine[Any, Any, None]) -> int:
    """Runs it to its end and gives the exit code: 2, and a line, where it cannot listen."""
    try:
        uvloop.run(work)
    except TakenError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 2
    return 0


def asked_to_end() -> asyncio.Event:
    """Set by SIGTERM and by SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


@contextmanager
def listen(address: Address) -> Iterator[socket.socket]:
    """Bound and listening until the block ends. Raises TakenError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
            listener.listen(1024)
        except OSError as error:
            raise TakenError(address, (error.strerror or str(error)).lower()) from error
        yield listener


def name_of(listener: socket.socket) -> str:
    """`HOST:PORT`, with the port that was found."""
    host, port = listener.getsockname()[:2]
    return str(Address("", host, port))


class _HttpServer(uvicorn.Server):
    """Leaves the signals to the process, in which it is one server of several."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serve_http(application: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Answers until the block ends."""
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
async def serve_grpc(receiver: Receiver, address: Address) -> AsyncIterator[str]:
    """Takes spans until the block ends; gives `HOST:PORT`. Raises TakenError."""
    server: aio.Server = grpc_server(receiver)
    # Tried with a socket first: gRPC says why it cannot only in its own log.
    with listen(address):
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
