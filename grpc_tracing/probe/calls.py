"""One call of a method, with a trace, a request id and baggage of its own; bounded in time and in answers."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor

from grpc_tracing.calling.requests import send_all, start
from grpc_tracing.headers.families import REQUEST_ID, Metadata
from grpc_tracing.probe.methods import path

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that ended: `status` is the gRPC code's name, times are Unix nanoseconds.

    `stopped`: it gave as many answers as were asked for at most, and was cancelled then.
    """

    trace_id: str
    span_id: str
    request_id: str
    status: str
    message: str
    answers: tuple[bytes, ...]
    stopped: bool
    began_ns: int
    ended_ns: int

    @property
    def ok(self) -> bool:
        return self.stopped or self.status == "OK"


@dataclass(frozen=True)
class Asked:
    """What each call sends, and what bounds it: `within` in seconds, `most` answers."""

    method: MethodDescriptor
    requests: Sequence[bytes]
    headers: Metadata
    within: float
    most: int


async def call(channel: grpc.aio.Channel, asked: Asked) -> Call:
    """Makes one call; a status other than OK is no error here."""
    trace_id, span_id, request_id = secrets.token_hex(16), secrets.token_hex(8), str(uuid.uuid4())
    sent = grpc.aio.Metadata(*_headers(asked.headers, trace_id, span_id, request_id))
    began = time.time_ns()
    one, answers = _begin(channel, asked, sent)
    try:
        read, stopped = await _read(answers, asked.most)
    finally:
        one.cancel()  # without effect on a call that has ended
    code, details = await one.code(), await one.details()
    return Call(
        trace_id=trace_id,
        span_id=span_id,
        request_id=request_id,
        status=code.name,
        message=details or "",
        answers=read,
        stopped=stopped,
        began_ns=began,
        ended_ns=time.time_ns(),
    )


def _headers(given: Metadata, trace_id: str, span_id: str, request_id: str) -> Iterable[Any]:
    """In the two families that meshes read. What the user gives of these keys is what goes."""
    own = (
        (REQUEST_ID, request_id),
        ("traceparent", f"00-{trace_id}-{span_id}-01"),
        ("x-b3-traceid", trace_id),
        ("x-b3-spanid", span_id),
        ("x-b3-sampled", "1"),
        ("baggage", f"grpc-tracing.check={request_id}"),
    )
    keys = {key for key, _ in given}
    return (*(pair for pair in own if pair[0] not in keys), *given)


def _begin(
    channel: grpc.aio.Channel, asked: Asked, sent: grpc.aio.Metadata
) -> tuple[grpc.aio.Call, AsyncIterable[bytes]]:
    method, where, within = asked.method, path(asked.method), asked.within
    if not method.client_streaming:
        if not method.server_streaming:
            one: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(where)
            unary = one(asked.requests[0], metadata=sent, timeout=within)
            return unary, _only(unary)
        several: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(where)
        more = several(asked.requests[0], metadata=sent, timeout=within)
        return more, more
    if not method.server_streaming:
        upload: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(where)
        up, stream = start(upload, metadata=sent, timeout=within)
        return up, _while_sending(send_all(stream, asked.requests), _only(up))
    both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(where)
    through, stream = start(both, metadata=sent, timeout=within)
    return through, _while_sending(send_all(stream, asked.requests), through)


async def _read(answers: AsyncIterable[bytes], most: int) -> tuple[tuple[bytes, ...], bool]:
    """What came, and whether there may be more of it."""
    read: list[bytes] = []
    try:
        async for answer in answers:
            if len(read) == most:
                return tuple(read), True
            read.append(answer)
    except grpc.aio.AioRpcError:
        pass  # the call tells its code
    return tuple(read), False


async def _only(answer: Awaitable[_T]) -> AsyncIterator[_T]:
    yield await answer


async def _while_sending(sending: Awaitable[None], answers: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    task = asyncio.ensure_future(sending)
    try:
        async for answer in answers:
            yield answer
    finally:
        task.cancel()
