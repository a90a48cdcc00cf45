"""One call of the chain, in each of the four patterns."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from client.call.answers import indices_asked
from client.call.outcome import Outcome, hop_records
from grpc_tracing.calling.requests import ENDED, RequestStream, start
from grpc_tracing.headers.families import Metadata
from protos.landing_pb2 import TalkRequest, TalkResponse

RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")
SERVICE = "org.feuyeux.grpc.LandingService"
ALIAS = "hello.LandingService"
SERVICES = (SERVICE, ALIAS)

_T = TypeVar("_T")


class Landing:
    """The RPCs of the landing service over one channel; answers are bytes, for `parsed`."""

    def __init__(self, channel: grpc.aio.Channel, service: str = SERVICE) -> None:
        self._talk: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{service}/Talk")
        self._answer_more: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/{service}/TalkOneAnswerMore"
        )
        self._more_answer_one: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            f"/{service}/TalkMoreAnswerOne"
        )
        self._bidirectional: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/{service}/TalkBidirectional"
        )

    def begin(
        self, rpc: str, asked: Sequence[int], sent: Metadata, timeout: float
    ) -> tuple[grpc.aio.Call, AsyncIterable[bytes]]:
        """Starts a call that asks for these greetings. Its responses, one by one, raise AioRpcError where it fails."""
        metadata = grpc.aio.Metadata(*sent)  # groups the values of one key, in their order
        if rpc == "Talk":
            talk = self._talk(_request(asked), timeout=timeout, metadata=metadata)
            return talk, _only(talk)
        if rpc == "TalkOneAnswerMore":
            more = self._answer_more(_request(asked), timeout=timeout, metadata=metadata)
            return more, more
        if rpc == "TalkMoreAnswerOne":
            one, requests = start(self._more_answer_one, metadata=metadata, timeout=timeout)
            return one, _while_sending(requests, asked, _only(one))
        both, requests = start(self._bidirectional, metadata=metadata, timeout=timeout)
        return both, _while_sending(requests, asked, both)


async def perform(landing: Landing, rpc: str, data: Sequence[int], sent: Metadata, within: float) -> Outcome:
    """Makes one call, `within` seconds, and keeps what it leaves behind; a status other than OK is no error here."""
    asked = indices_asked(rpc, data)
    began, began_ns = time.perf_counter(), time.time_ns()
    call, answers = landing.begin(rpc, asked, sent, within)
    responses = [parsed(answer) for answer in await _read(call, answers)]
    duration = time.perf_counter() - began
    return Outcome(
        rpc=rpc,
        asked=asked,
        sent=sent,
        status=(await call.code()).name,
        message=await call.details() or "",
        responses=tuple(response for response in responses if response is not None),
        unreadable=responses.count(None),
        hops=hop_records(await call.trailing_metadata() or ()),
        duration=duration,
        timeout=within,
        began_ns=began_ns,
    )


def parsed(answer: bytes) -> TalkResponse | None:
    """None for bytes that are no TalkResponse: grpcio, left to decode them, would log a traceback."""
    try:
        return TalkResponse.FromString(answer)
    except DecodeError:
        return None


async def _read(call: grpc.aio.Call, answers: AsyncIterable[bytes]) -> list[bytes]:
    read: list[bytes] = []
    try:
        async for answer in answers:
            read.append(answer)  # noqa: PERF401 - what came before an error counts too
    except grpc.aio.AioRpcError:
        pass  # the call tells its code
    finally:
        call.cancel()  # without effect on one that has ended
    return read


async def _only(answer: Awaitable[_T]) -> AsyncIterator[_T]:
    yield await answer


def _request(asked: Sequence[int]) -> bytes:
    return TalkRequest(data=",".join(map(str, asked)), meta="PYTHON").SerializeToString()


async def _while_sending(
    requests: RequestStream, asked: Sequence[int], answers: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    sending = asyncio.create_task(_send(requests, asked))
    try:
        async for answer in answers:
            yield answer
    finally:
        sending.cancel()


async def _send(requests: RequestStream, asked: Sequence[int]) -> None:
    # Whatever ends the call ends this too; whoever reads the answers learns why.
    with contextlib.suppress(*ENDED):
        await requests.begin()
        for index in asked:
            await requests.send(_request((index,)))
        await requests.half_close()
