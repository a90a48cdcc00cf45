"""A hop in whose calls goes wrong what each call's baggage names (`mistake=NAME`): `python -m tests.mesh.told_hop`.

It leaves no record, and passes the baggage on whatever it does else, so that nothing but the mistake shows.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from grpc_tracing.calling.metadata import OrderedMetadata
from tests.client.evidence import answer
from tests.evidence.mistakes import MISTAKES, OLD, SPAN, good
from tests.mesh.foreign_hop import Pairs

WHOLE = "nothing"
ANSWERS_ITSELF = "answers by itself"
AROUND = "calls around the sidecars"
PREVIOUS = "the headers of the call before"
STREAMS_ONLY = "forwards nothing in streams"
EVERY_OTHER = "forwards nothing in every other call"
OWN_SPAN = "a span of its own that nobody exports"
RETRIES = "calls twice"
SPECIAL = (WHOLE, ANSWERS_ITSELF, AROUND, PREVIOUS, STREAMS_ONLY, EVERY_OTHER, OWN_SPAN, RETRIES)


def told(received: Pairs) -> str:
    """Of `baggage: mistake=NAME,run=…`, with + for a space; `run` tells runs with the same mistake apart."""
    words = [str(value) for key, value in received if key == "baggage" and str(value).startswith("mistake=")]
    return words[0].partition(",")[0].removeprefix("mistake=").replace("+", " ") if words else WHOLE


class Told(grpc.GenericRpcHandler):
    """Every method as a stream of bytes: a unary call is a stream of one."""

    def __init__(self, onward: grpc.aio.Channel, around: grpc.aio.Channel) -> None:
        self._channels = {AROUND: around}
        self._onward = onward
        self._calls: Counter[str] = Counter()
        self._before: Pairs = [("traceparent", f"00-{OLD}-{SPAN}-01"), ("x-b3-traceid", OLD), ("x-b3-spanid", SPAN)]

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def relay(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            received = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
            mistake = told(received)
            if mistake == ANSWERS_ITSELF:
                yield answer(0).SerializeToString()
                return
            channel = self._channels.get(mistake, self._onward)
            onward: Any = channel.stream_stream(details.method)
            asked = [one async for one in messages]
            headers = self._sent_on(mistake, received, details.method)
            for _ in range(2 if mistake == RETRIES else 1):
                call: Any = onward(_each(asked), metadata=headers)
                answers = [one async for one in call]
            for one in answers:
                yield one
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))

        return grpc.stream_stream_rpc_method_handler(relay)

    def _sent_on(self, mistake: str, received: Pairs, method: str) -> OrderedMetadata:
        baggage = [pair for pair in received if pair[0] == "baggage"]
        kept = [pair for pair in self._changed(mistake, received, method) if pair[0] != "baggage"]
        if mistake == PREVIOUS:
            self._before = [pair for pair in received if pair[0] != "baggage"]
        return OrderedMetadata([*kept, *baggage])

    def _changed(self, mistake: str, received: Pairs, method: str) -> Pairs:
        if mistake == PREVIOUS:
            return self._before
        if mistake == STREAMS_ONLY:
            return list(good(tuple(received))) if method.endswith("/Talk") else []
        if mistake == EVERY_OTHER:
            run = str(dict(received).get("baggage"))
            self._calls[run] += 1
            return list(good(tuple(received))) if self._calls[run] % 2 else []
        if mistake == OWN_SPAN:
            return [(key, _own(key, value)) for key, value in good(tuple(received))]
        return list(MISTAKES.get(mistake, good)(tuple(received)))


def _own(key: str, value: str | bytes) -> str | bytes:
    if key == "traceparent":
        return f"{str(value)[:36]}{SPAN}-01"
    return SPAN if key == "x-b3-spanid" else value


async def _each(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def main() -> None:
    onward = os.environ["TALK_NEXT_HOP"]
    # The next service's own socket lies beside our sidecar's, under its name.
    number = int(os.environ["TALK_NAME"].removeprefix("svc"))
    around = f"{onward.rpartition('/')[0]}/svc{number + 1}.app"
    async with grpc.aio.insecure_channel(onward) as one, grpc.aio.insecure_channel(around) as other:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([Told(one, other)])
        server.add_insecure_port(os.environ["TALK_LISTEN"])
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
