"""One call of the chain, in each of the four patterns."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from client.greetings import indices_asked
from client.outcome import Outcome, hop_records
from client.usage import Metadata
from protos.landing_pb2 import TalkRequest, TalkResponse

RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")
SERVICE = "org.feuyeux.grpc.LandingService"

_T = TypeVar("_T")
_ENCODE, _DECODE = TalkRequest.SerializeToString, TalkResponse.FromString


class Landing:
    """The RPCs of the landing service over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._talk = channel.unary_unary(f"/{SERVICE}/Talk", _ENCODE, _DECODE)
        self._answer_more = channel.unary_stream(f"/{SERVICE}/TalkOneAnswerMore", _ENCODE, _DECODE)
        self._more_answer_one = channel.stream_unary(f"/{SERVICE}/TalkMoreAnswerOne", _ENCODE, _DECODE)
        self._bidirectional = channel.stream_stream(f"/{SERVICE}/TalkBidirectional", _ENCODE, _DECODE)

    def begin(
        self, rpc: str, asked: Sequence[int], sent: Metadata, timeout: float
    ) -> tuple[grpc.aio.Call, AsyncIterable[TalkResponse]]:
        """Starts a call that asks for these greetings. Its responses, one by one, raise AioRpcError where it fails."""
        metadata = grpc.aio.Metadata(*sent)  # groups the values of one key, in their order
        if rpc == "Talk":
            talk = self._talk(_request(asked), timeout=timeout, metadata=metadata)
            return talk, _only(talk)
        if rpc == "TalkOneAnswerMore":
            more = self._answer_more(_request(asked), timeout=timeout, metadata=metadata)
            return more, more
        if rpc == "TalkMoreAnswerOne":
            one = self._more_answer_one(_requests(asked), timeout=timeout, metadata=metadata)
            return one, _only(one)
        both = self._bidirectional(_requests(asked), timeout=timeout, metadata=metadata)
        return both, both


async def perform(landing: Landing, rpc: str, data: Sequence[int], sent: Metadata, within: float) -> Outcome:
    """Makes one call, `within` seconds, and keeps what it leaves behind; a status other than OK is no error here."""
    asked = indices_asked(rpc, data)
    began = time.perf_counter()
    call, answers = landing.begin(rpc, asked, sent, within)
    responses = await _read(call, answers)
    duration = time.perf_counter() - began
    return Outcome(
        rpc=rpc,
        asked=asked,
        sent=sent,
        status=(await call.code()).name,
        message=await call.details() or "",
        responses=tuple(responses),
        hops=hop_records(await call.trailing_metadata() or ()),
        duration=duration,
        timeout=within,
    )


async def _read(call: grpc.aio.Call, answers: AsyncIterable[TalkResponse]) -> list[TalkResponse]:
    responses: list[TalkResponse] = []
    try:
        async for response in answers:
            responses.append(response)  # noqa: PERF401 - what came before an error counts too
    except grpc.aio.AioRpcError:
        pass  # the call tells its code
    finally:
        call.cancel()  # without effect on one that has ended
    return responses


async def _only(answer: Awaitable[_T]) -> AsyncIterator[_T]:
    yield await answer


def _request(asked: Sequence[int]) -> TalkRequest:
    return TalkRequest(data=",".join(map(str, asked)), meta="PYTHON")


async def _requests(asked: Sequence[int]) -> AsyncIterator[TalkRequest]:
    for index in asked:
        yield TalkRequest(data=str(index), meta="PYTHON")
