"""The onward call: the next hop's channel, the four exchanges message by message, and errors translated in one place.

Messages pass as bytes, undecoded. Each exchange gets an onward call that was made in the open, with its `metadata=` and
`timeout=`, and ends it on every way out: a caller that cancels or vanishes cancels all later hops.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from grpc_tracing.calling.instrumented import mend
from grpc_tracing.calling.limits import LIMIT_OPTIONS
from grpc_tracing.calling.requests import ENDED, RequestStream, StreamStreamCall, StreamUnaryCall
from grpc_tracing.calling.unary import Answer
from grpc_tracing.headers.families import STATUS_DETAILS, Pair
from grpc_tracing.headers.forwarding import backward
from protos import hello_pb2, landing_pb2
from talk import records
from talk.config import ClientTls, NextHop

SERVICES: Final = (
    landing_pb2.DESCRIPTOR.services_by_name["LandingService"].full_name,
    hello_pb2.DESCRIPTOR.services_by_name["LandingService"].full_name,
)
"""The service's name and its alias: a call goes on under the name that it came with."""

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_AnswerStream: TypeAlias = "grpc.aio.UnaryStreamCall[bytes, bytes] | StreamStreamCall"


class Status(NamedTuple):
    """How a call ended, as the caller is told."""

    code: grpc.StatusCode
    message: str = ""


@dataclass(slots=True)
class Exchange:
    """What one call has done so far: messages from and to the caller, and what the later hops said at its end."""

    messages_in: int = 0
    messages_out: int = 0
    trailers: tuple[Pair, ...] = ()


class Onward:
    """The four RPCs of the next hop, under both service names, on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.talk: Mapping[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {
            name: channel.unary_unary(f"/{name}/Talk") for name in SERVICES
        }
        self.talk_one_answer_more: Mapping[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {
            name: channel.unary_stream(f"/{name}/TalkOneAnswerMore") for name in SERVICES
        }
        self.talk_more_answer_one: Mapping[str, grpc.aio.StreamUnaryMultiCallable[bytes, bytes]] = {
            name: channel.stream_unary(f"/{name}/TalkMoreAnswerOne") for name in SERVICES
        }
        self.talk_bidirectional: Mapping[str, grpc.aio.StreamStreamMultiCallable[bytes, bytes]] = {
            name: channel.stream_stream(f"/{name}/TalkBidirectional") for name in SERVICES
        }


@contextlib.asynccontextmanager
async def connect(next_hop: NextHop, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()) -> AsyncIterator[Onward]:
    """Opens the channel to the next hop, which connects at the first call, and closes it with the block."""
    given = list(interceptors) or None
    options = [*LIMIT_OPTIONS, *channel_options(next_hop)]
    if next_hop.tls is None:
        channel = grpc.aio.insecure_channel(next_hop.target, options=options, interceptors=given)
    else:
        channel = grpc.aio.secure_channel(next_hop.target, _credentials(next_hop.tls), options, interceptors=given)
    async with mend(channel):
        yield Onward(channel)


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes(),
        private_key=tls.key.read_bytes() if tls.key else None,
        certificate_chain=tls.cert.read_bytes() if tls.cert else None,
    )


def channel_options(next_hop: NextHop) -> list[tuple[str, Any]]:
    """How the channel to a next hop balances, retries, reconnects and stays alive."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_service_config(next_hop))),
        ("grpc.enable_http_proxy", int(next_hop.http_proxy)),
        # A next hop that comes back is found within a second, not after gRPC's default back-off of up to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 700),
        ("grpc.dns_min_time_between_resolutions_ms", 500),
        # Servers answer pings that come more often than every 5 minutes with too_many_pings (gRFC A8).
        ("grpc.keepalive_time_ms", 310_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if next_hop.tls and next_hop.tls.authority:
        options.append(("grpc.ssl_target_name_override", next_hop.tls.authority))
    return options


def _service_config(next_hop: NextHop) -> dict[str, Any]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if next_hop.retry:
        policy = {
            "maxAttempts": 3,
            "initialBackoff": "0.02s",
            "maxBackoff": "0.2s",
            "backoffMultiplier": 2,
            # grpc.aio servers answer CANCELLED to a call that meets their stop between its arrival and its handler.
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        }
        # Talk alone: it is idempotent, and a stream cannot be taken back once it has begun.
        config["methodConfig"] = [
            {"name": [{"service": name, "method": "Talk"} for name in SERVICES], "retryPolicy": policy}
        ]
    return config


async def unary_unary(asking: Awaitable[Answer], context: Context, exchange: Exchange) -> bytes:
    try:
        answer = await asking
    except grpc.aio.AioRpcError as error:
        await _send_initial_metadata(error.initial_metadata(), context)
        raise
    await _send_initial_metadata(answer.initial_metadata, context)
    exchange.messages_out = 1
    exchange.trailers = backward(answer.trailing_metadata)
    return answer.message


async def unary_stream(call: grpc.aio.UnaryStreamCall[bytes, bytes], context: Context, exchange: Exchange) -> None:
    try:
        await _relay_answers(call, context, exchange)
    finally:
        call.cancel()


async def stream_unary(call: StreamUnaryCall, stream: RequestStream, context: Context, exchange: Exchange) -> bytes:
    requests = asyncio.create_task(_relay_requests(stream, context, exchange, asyncio.current_task()))
    try:
        return await _relay_answer(call, context, exchange)
    finally:
        call.cancel()
        requests.cancel()


async def stream_stream(call: StreamStreamCall, stream: RequestStream, context: Context, exchange: Exchange) -> None:
    requests = asyncio.create_task(_relay_requests(stream, context, exchange, asyncio.current_task()))
    try:
        await _relay_answers(call, context, exchange)
    finally:
        call.cancel()
        requests.cancel()


async def next_request(context: Context, handler: asyncio.Task[Any] | None = None) -> bytes | None:
    """The caller's next message, or None once it has half-closed; CancelledError where its stream was cut off.

    `handler` is the call's own task, for another one that reads in its place.

    gRPC ends a stream that was cut like a complete one, and cancels the handler a moment later: before a further read
    returns. Half-closed meanwhile, the onward call would be taken for a complete, shorter one.
    """
    request: object = await context.read()
    if request is not grpc.aio.EOF:
        return cast("bytes", request)
    await context.read()
    if handler is not None and handler.cancelling():
        raise asyncio.CancelledError
    return None


async def _relay_requests(
    stream: RequestStream, context: Context, exchange: Exchange, handler: asyncio.Task[Any] | None
) -> None:
    # Whatever ends the onward call ends this too; the side that reads the answers says why.
    with contextlib.suppress(*ENDED):
        await stream.begin()
        while (request := await next_request(context, handler)) is not None:
            exchange.messages_in += 1
            await stream.send(request)
        await stream.half_close()


async def _relay_answer(call: StreamUnaryCall, context: Context, exchange: Exchange) -> bytes:
    try:
        answer = await call
    except grpc.aio.AioRpcError:
        await _send_initial_metadata(await call.initial_metadata(), context)
        raise
    await _send_initial_metadata(await call.initial_metadata(), context)
    exchange.messages_out = 1
    exchange.trailers = backward(await call.trailing_metadata())
    return answer


async def _relay_answers(call: _AnswerStream, context: Context, exchange: Exchange) -> None:
    await _send_initial_metadata(await call.initial_metadata(), context)
    while (answer := await call.read()) is not grpc.aio.EOF:
        await context.write(cast("bytes", answer))
        exchange.messages_out += 1
    exchange.trailers = backward(await call.trailing_metadata())


async def _send_initial_metadata(received: Iterable[Pair], context: Context) -> None:
    # Where there is none it goes with the first answer: an error then stays what Envoy can retry, trailers alone.
    if metadata := backward(received):
        await context.send_initial_metadata(metadata)


def translate(error: grpc.aio.AioRpcError, edge: str, exchange: Exchange) -> Status:
    """The status of an onward call as the caller gets it, with the later hops' trailers kept in `exchange`.

    A status that came with a hop's record is a hop's own and passes unchanged. One without was made by a library or a
    proxy on the way, whose text names nobody: `edge`, such as ``svc2 -> svc3``, goes in front, also in rich details,
    which repeat the message and are refused by readers where it is another.
    """
    exchange.trailers = backward(error.trailing_metadata() or ())
    message = error.details() or ""
    if not records.is_from_next_hop(exchange.trailers):
        message = f"{edge}: {message}"
        exchange.trailers = tuple(_with_message(key, value, message) for key, value in exchange.trailers)
    return Status(error.code(), message)


def _with_message(key: str, value: str | bytes, message: str) -> Pair:
    if key != STATUS_DETAILS or not isinstance(value, bytes):
        return key, value
    try:
        status = status_pb2.Status.FromString(value)
    except DecodeError:
        return key, value
    status.message = message
    return key, status.SerializeToString()
