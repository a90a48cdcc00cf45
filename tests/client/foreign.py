"""A hop that is not ours: it leaves no record, and does to the headers what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc
import grpc.aio

Pair: TypeAlias = tuple[str, str | bytes]
Change: TypeAlias = Callable[[Sequence[Pair]], Sequence[Pair]]
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


Handler: TypeAlias = "Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]"


@asynccontextmanager
async def foreign_hop(next_hop: str, change: Change) -> AsyncIterator[str]:
    """Serves on the address that it gives, and calls `next_hop` with the headers that `change` makes."""
    async with (
        grpc.aio.insecure_channel(next_hop) as channel,
        _serving(lambda method: _relay(channel.stream_stream(method), change)) as address,
    ):
        yield address


@asynccontextmanager
async def hanging_hop(called: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serves on the address that it gives, and never answers; sets `called` when a call comes."""

    async def hang(_: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        if called:
            called.set()
        await asyncio.Event().wait()
        yield b""

    async with _serving(lambda _: hang) as address:
        yield address


@asynccontextmanager
async def babbling_hop() -> AsyncIterator[str]:
    """Serves on the address that it gives, and answers every call with bytes that are no message."""

    async def babble(messages: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        async for _message in messages:
            pass
        yield b"\x0a\xff\xff"

    async with _serving(lambda _: babble) as address:
        yield address


@asynccontextmanager
async def answering_hop(answer: bytes, records: Sequence[bytes] = ()) -> AsyncIterator[str]:
    """Serves on the address that it gives, and answers every call with these bytes, and these records behind them."""

    async def reply(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _message in messages:
            pass
        context.set_trailing_metadata(tuple(("talk-hop-bin", record) for record in records))
        yield answer

    async with _serving(lambda _: reply) as address:
        yield address


def _relay(onward: grpc.aio.StreamStreamMultiCallable[bytes, bytes], change: Change) -> Handler:
    async def relay(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        received = [pair for pair in context.invocation_metadata() or () if pair[0] != "user-agent"]
        call = onward(messages, metadata=tuple(change(received)))
        async for answer in call:
            yield answer
        context.set_trailing_metadata(tuple(await call.trailing_metadata()))

    return relay


class _Every(grpc.GenericRpcHandler):
    """A handler for every method: on bytes, a unary call is a stream of one."""

    def __init__(self, make: Callable[[str], Handler]) -> None:
        self._make = make

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.stream_stream_rpc_method_handler(self._make(details.method))


@asynccontextmanager
async def _serving(make: Callable[[str], Handler]) -> AsyncIterator[str]:
    server = grpc.aio.server(handlers=[_Every(make)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
