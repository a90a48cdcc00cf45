"""The other services that a hop calls because of a call: their answers are dropped, the next hop's go back."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import grpc

from grpc_tracing.calling import requests
from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.families import Pair
from protos.landing_pb2 import TalkRequest
from talk import relay
from talk.config import NextHop
from talk.relay import Onward

T = TypeVar("T")

QUESTION: Final = TalkRequest(data="0", meta="PYTHON").SerializeToString()
"""What a service asks others for itself."""


class OtherHopError(Exception):
    """A call to `name` failed, and with it the call in."""

    def __init__(self, name: str, error: grpc.aio.AioRpcError) -> None:
        super().__init__(name)
        self.name = name
        self.error = error


class FanOut:
    """Makes one call to each of the other hops, of the RPC of the call in and with one request of its own."""

    def __init__(self, hops: Mapping[str, Onward]) -> None:
        self._hops = hops

    async def beside(
        self, work: Coroutine[Any, Any, T], path: str, metadata: Sequence[Pair], remaining: float | None
    ) -> T:
        """Awaits `work`, the call to the next hop, and the others. Raises what ends `work`, and OtherHopError."""
        calls = [
            asyncio.create_task(_ask(name, onward, path, metadata, remaining)) for name, onward in self._hops.items()
        ]
        try:
            result = await work
            await asyncio.gather(*calls)
            return result
        finally:
            for call in calls:
                call.cancel()


@contextlib.asynccontextmanager
async def connect(hops: Sequence[NextHop], interceptors: Sequence[grpc.aio.ClientInterceptor]) -> AsyncIterator[FanOut]:
    """Opens a channel to each, and closes them with the block."""
    async with contextlib.AsyncExitStack() as stack:
        yield FanOut({hop.name: await stack.enter_async_context(relay.connect(hop, interceptors)) for hop in hops})


async def _ask(name: str, onward: Onward, path: str, metadata: Sequence[Pair], remaining: float | None) -> None:
    service, _, method = path.strip("/").partition("/")
    headers = OrderedMetadata(metadata)
    try:
        match method:
            case "Talk":
                await onward.talk[service](QUESTION, metadata=headers, timeout=remaining)
            case "TalkOneAnswerMore":
                await _drain(onward.talk_one_answer_more[service](QUESTION, metadata=headers, timeout=remaining))
            case "TalkMoreAnswerOne":
                call, stream = requests.start(onward.talk_more_answer_one[service], metadata=headers, timeout=remaining)
                await requests.send_all(stream, [QUESTION])
                await call
            case _:
                answers, stream = requests.start(
                    onward.talk_bidirectional[service], metadata=headers, timeout=remaining
                )
                await requests.send_all(stream, [QUESTION])
                await _drain(answers)
    except grpc.aio.AioRpcError as error:
        raise OtherHopError(name, error) from error


async def _drain(answers: Any) -> None:
    async for _ in answers:
        pass
