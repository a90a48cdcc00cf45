"""A hop in grpc.aio that makes a well-known mistake with the headers, to see what it looks like from outside.

`python -m docs.examples.mistakes NAME` listens on TALK_LISTEN and calls TALK_NEXT_HOP.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeAlias

import grpc

from docs.examples.propagation import HEADERS, Pair, onward

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def dictionary(_: str, received: Sequence[Pair]) -> Sequence[Pair]:
    """Of two baggage headers the last one goes on."""
    return tuple(dict(onward(received)).items())


def streams_forgotten(rpc: str, received: Sequence[Pair]) -> Sequence[Pair]:
    """Headers go on where somebody looked: in the unary call."""
    return onward(received) if rpc == "Talk" else ()


def rebuilt(_: str, received: Sequence[Pair]) -> Sequence[Pair]:
    """B3 parsed and written anew: the parent is gone, and what was not decided is now not sampled."""
    b3 = dict(received)
    return (
        ("x-b3-traceid", b3["x-b3-traceid"]),
        ("x-b3-spanid", b3["x-b3-spanid"]),
        ("x-b3-sampled", b3.get("x-b3-sampled", "0")),
    )


def both_b3(_: str, received: Sequence[Pair]) -> Sequence[Pair]:
    """`b3` beside the `x-b3-*` that the sidecar writes anew at each hop."""
    return tuple((key, value) for key, value in received if key in HEADERS)


def everything(_: str, received: Sequence[Pair]) -> Sequence[Pair]:
    """Credentials and what belongs to one hop go on too."""
    return tuple(received)


MISTAKES: Final[dict[str, Callable[[str, Sequence[Pair]], Sequence[Pair]]]] = {
    "dictionary": dictionary,
    "streams-forgotten": streams_forgotten,
    "rebuilt": rebuilt,
    "both-b3": both_b3,
    "everything": everything,
}


class Hop(grpc.GenericRpcHandler):
    """Every method as a stream of bytes: a unary call is a stream of one."""

    def __init__(self, channel: grpc.aio.Channel, mistake: str) -> None:
        self._channel = channel
        self._headers = MISTAKES[mistake]

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method: Any = self._channel.stream_stream(details.method)
        rpc = details.method.rpartition("/")[2]

        async def relay(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            received = tuple(context.invocation_metadata() or ())
            call = method(messages, metadata=self._headers(rpc, received), timeout=context.time_remaining())
            async for answer in call:
                yield answer
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))

        return grpc.stream_stream_rpc_method_handler(relay)


async def main(mistake: str) -> None:
    async with grpc.aio.insecure_channel(os.environ["TALK_NEXT_HOP"]) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([Hop(channel, mistake)])
        server.add_insecure_port(os.environ["TALK_LISTEN"])
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
