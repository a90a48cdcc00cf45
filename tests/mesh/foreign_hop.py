"""A hop that is not ours, as a program: `python -m tests.mesh.foreign_hop CHANGE`. It leaves no record.

It listens on TALK_LISTEN and calls TALK_NEXT_HOP with the headers that it received, changed as it is told.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

Pairs = list[tuple[str, str | bytes]]

CHANGES = ("nothing", "drop-baggage", "drop-traceparent", "reorder", "another-trace")
LIKE_SAMPLES = ("like-java", "like-go", "like-node")
"""As the servers of the sample behave that the tracing guide for ASM ships: none returns what a later hop trails."""
_COPIED = ("x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")
_KEPT: Pairs = []
"""What `global-cache` keeps for all calls alike, which is the mistake."""
OTHER_TRACE = "0af7651916cd43dd8448eb211c80319c"


def changed(change: str, received: Pairs) -> Pairs:
    if change == "reorder":
        return received[::-1]
    if change == "another-trace":
        return [*without("traceparent", received), ("traceparent", f"00-{OTHER_TRACE}-00f067aa0ba902b7-01")]
    if change in {"like-java", "like-go"}:
        return [pair for pair in received if pair[0] in (*_COPIED, "x-ot-span-context")]
    if change == "like-node":
        return []  # it tests `key in array`, which no key is
    if change.startswith("every-"):
        _KEPT.append(("x-call", ""))
        return [] if len(_KEPT) % int(change.removeprefix("every-")) == 0 else received
    return without(change.removeprefix("drop-"), received)


def without(key: str, received: Pairs) -> Pairs:
    return [pair for pair in received if pair[0] != key]


def _lacks_parent(received: Pairs) -> bool:
    keys = {key for key, _ in received}
    return "x-request-id" in keys and "x-b3-parentspanid" not in keys


class Relay(grpc.GenericRpcHandler):
    """Every method as a stream of bytes: a unary call is a stream of one."""

    def __init__(self, channel: grpc.aio.Channel, change: str) -> None:
        self._channel = channel
        self._change = change

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        onward: Any = self._channel.stream_stream(details.method)

        async def relay(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            received = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
            call = onward(messages, metadata=tuple(await self._sent_on(received)))
            async for answer in call:
                yield answer
            if self._change not in LIKE_SAMPLES:
                context.set_trailing_metadata(tuple(await call.trailing_metadata()))

        return grpc.stream_stream_rpc_method_handler(relay)

    async def _sent_on(self, received: Pairs) -> Pairs:
        if self._change == "like-go" and _lacks_parent(received):
            os._exit(2)  # its panic
        if self._change == "global-cache":
            _KEPT[:] = received
            await asyncio.sleep(0.01)  # other calls come in meanwhile
            received = list(_KEPT)
        return changed(self._change, received)


async def main(change: str) -> None:
    await serve(os.environ["TALK_LISTEN"], os.environ["TALK_NEXT_HOP"], change)


async def serve(listen: str, next_hop: str, change: str) -> None:
    async with grpc.aio.insecure_channel(next_hop) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([Relay(channel, change)])
        server.add_insecure_port(listen)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
