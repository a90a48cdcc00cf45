"""The four handlers, under both service names: forward where there is a next hop, answer where there is none."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import grpc

from chain.greetings import MOST_REQUESTS
from grpc_tracing.calling import requests, unary
from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.families import STATUS_DETAILS, Pair
from grpc_tracing.headers.forwarding import Propagation, Received, onward, rewritten
from grpc_tracing.headers.reading import trace_id
from protos.hop_pb2 import Hop
from protos.landing_pb2 import TalkResult
from talk import answers, records, relay
from talk.config import Identity
from talk.fan_out import FanOut, OtherHopError
from talk.intake import Intake
from talk.logs import CallLog
from talk.relay import Context, Exchange, Onward, Status

T = TypeVar("T")
_UINT32_MAX: Final = 2**32 - 1
_OK: Final = Status(grpc.StatusCode.OK)


class Service(Protocol):
    """The four handlers. `name` is the service name that the call came with."""

    async def talk(self, name: str, request: bytes, context: Context) -> bytes: ...
    async def talk_one_answer_more(self, name: str, request: bytes, context: Context) -> None: ...
    async def talk_more_answer_one(self, name: str, _: object, context: Context) -> bytes: ...
    async def talk_bidirectional(self, name: str, _: object, context: Context) -> None: ...


def generic_handlers(service: Service) -> list[grpc.GenericRpcHandler]:
    """The service under its name and its alias, on bytes: no message is decoded but by the hop that answers.

    A call of one request reads it as a stream, too: gRPC by itself takes in what all callers send, however long each
    takes to end its message.
    """
    intake = Intake()
    return [
        grpc.method_handlers_generic_handler(
            name,
            {
                "Talk": grpc.stream_unary_rpc_method_handler(partial(_asked, intake, service.talk, name)),
                "TalkOneAnswerMore": grpc.stream_stream_rpc_method_handler(
                    partial(_writing, partial(_asked, intake, service.talk_one_answer_more), name)
                ),
                "TalkMoreAnswerOne": grpc.stream_unary_rpc_method_handler(partial(service.talk_more_answer_one, name)),
                "TalkBidirectional": grpc.stream_stream_rpc_method_handler(
                    partial(_writing, service.talk_bidirectional, name)
                ),
            },
        )
        for name in relay.SERVICES
    ]


async def _asked(
    intake: Intake, handler: Callable[[str, bytes, Context], Awaitable[T]], name: str, _: object, context: Context
) -> T:
    """A handler of one request, which `intake` lets come in."""
    return await handler(name, await intake.request(context), context)


async def _writing(
    handler: Callable[[str, Any, Context], Awaitable[None]], name: str, request: Any, context: Context
) -> AsyncIterator[bytes]:
    """A handler that writes its answers, as the generator without a message that OpenTelemetry takes it for.

    Its instrumentation (0.66b2) iterates over what a handler with streamed answers returns.
    """
    await handler(name, request, context)
    none: tuple[bytes, ...] = ()
    for message in none:
        yield message


@dataclass(slots=True)
class IncomingCall:
    """A call at this hop: what came, what goes on, and how it went."""

    rpc: str
    context: Context
    received: list[Received]
    peer: str
    trace_id: str
    remaining: float | None
    """Seconds that the caller still waits; None: no deadline."""
    started: float
    exchange: Exchange = field(default_factory=Exchange)


class CallTracker:
    """Counts the calls in flight, keeps the record and log line of each, and turns its errors into a status."""

    def __init__(
        self,
        identity: Identity,
        next_name: str | None,
        rule: Propagation,
        log: CallLog,
        *,
        with_records: bool,
        anew: Container[str] = (),
        by_rpc: Mapping[str, Propagation] | None = None,
    ) -> None:
        """`anew`: the headers that an SDK in this process writes itself; `by_rpc`: rules that go before `rule`."""
        self._identity = identity
        self._next_name = next_name
        self._rule = rule
        self._log = log
        self._with_records = with_records
        self._anew = anew
        self._by_rpc = by_rpc or {}
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def begin(self, rpc: str, context: Context) -> IncomingCall:
        self._count(context)
        metadata = tuple(context.invocation_metadata() or ())
        received = self._by_rpc.get(rpc.rpartition("/")[2], self._rule).sort(metadata)
        return IncomingCall(
            rpc=rpc,
            context=context,
            received=rewritten(received, self._anew) if self._anew else received,
            peer=records.peer_identity(metadata, context.peer()),
            trace_id=trace_id(metadata),
            remaining=context.time_remaining(),
            started=time.perf_counter(),
        )

    def _count(self, context: Context) -> None:
        self.in_flight += 1
        self.idle.clear()
        context.add_done_callback(self._left)  # type: ignore[arg-type]  # the stub asks for a class of its own

    def _left(self, _: Context) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()

    async def conclude(self, incoming: IncomingCall, work: Coroutine[Any, Any, T]) -> T:
        """Awaits the work of one call and ends it with a record, a log line and the right status.

        The work of a hop that forwards is waiting for later ones, and counts as their time.
        """
        began = time.perf_counter()
        try:
            result = await work
        except grpc.aio.AioRpcError as error:
            status = relay.translate(error, f"{self._identity.service} -> {self._next_name}", incoming.exchange)
        except OtherHopError as other:
            edge = f"{self._identity.service} -> {other.name}"
            status = relay.translate(other.error, edge, incoming.exchange)
        except answers.RefusalError as refusal:
            status = Status(refusal.code, refusal.message)
            incoming.exchange.trailers = ((STATUS_DETAILS, refusal.details),) if refusal.details else ()
        except (asyncio.CancelledError, grpc.aio.BaseError) as error:
            # Cancelled, or the caller's connection broke under a write: nobody is there to be told.
            self._note(incoming, _ending(incoming.context), time.perf_counter())
            raise asyncio.CancelledError from error
        else:
            incoming.context.set_trailing_metadata(self._end(incoming, began, _OK))
            return result
        return await incoming.context.abort(status.code, status.message, self._end(incoming, began, status))

    def _end(self, incoming: IncomingCall, began: float, status: Status) -> tuple[Pair, ...]:
        now = time.perf_counter()
        self._note(incoming, status.code, now)
        if not self._with_records:
            return incoming.exchange.trailers
        later = now - began if self._next_name else 0.0
        record = self._record(incoming, status.code, now - incoming.started - later, later)
        return records.add(record, incoming.exchange.trailers, status.message)

    def _record(self, incoming: IncomingCall, code: grpc.StatusCode, here: float, later: float) -> Hop:
        record = Hop(
            service=self._identity.service,
            version=self._identity.version,
            instance=self._identity.instance,
            rpc=incoming.rpc,
            peer=incoming.peer,
            remaining_ms=None if incoming.remaining is None else min(int(incoming.remaining * 1000), _UINT32_MAX),
            here_us=int(here * 1e6),
            later_us=int(later * 1e6),
            status=code.value[0],
            trace_id=incoming.trace_id,
        )
        records.note_headers(record, incoming.received)
        return record

    def _note(self, incoming: IncomingCall, code: grpc.StatusCode, now: float) -> None:
        if self._log.enabled:
            self._log.call(
                rpc=incoming.rpc,
                code=code.name,
                duration_ms=int((now - incoming.started) * 1e6) / 1000,
                peer=incoming.peer,
                messages_in=incoming.exchange.messages_in,
                messages_out=incoming.exchange.messages_out,
                trace_id=incoming.trace_id,
            )


def _ending(context: Context) -> grpc.StatusCode:
    return grpc.StatusCode.DEADLINE_EXCEEDED if context.time_remaining() == 0 else grpc.StatusCode.CANCELLED


class Forwarder:
    """A hop that has a next one: passes calls on, message by message, with their trace headers and remaining time."""

    def __init__(self, tracker: CallTracker, onward: Onward, others: FanOut | None = None) -> None:
        self._tracker = tracker
        self._onward = onward
        self._others = others

    async def talk(self, name: str, request: bytes, context: Context) -> bytes:
        incoming = self._tracker.begin(f"/{name}/Talk", context)
        incoming.exchange.messages_in = 1
        asking = unary.ask(
            self._onward.talk[name], request, metadata=onward(incoming.received), timeout=incoming.remaining
        )
        return await self._conclude(incoming, relay.unary_unary(asking, context, incoming.exchange))

    async def talk_one_answer_more(self, name: str, request: bytes, context: Context) -> None:
        incoming = self._tracker.begin(f"/{name}/TalkOneAnswerMore", context)
        incoming.exchange.messages_in = 1
        call = self._onward.talk_one_answer_more[name](
            request, metadata=OrderedMetadata(onward(incoming.received)), timeout=incoming.remaining
        )
        await self._conclude(incoming, relay.unary_stream(call, context, incoming.exchange))

    async def talk_more_answer_one(self, name: str, _: object, context: Context) -> bytes:
        incoming = self._tracker.begin(f"/{name}/TalkMoreAnswerOne", context)
        call, stream = requests.start(
            self._onward.talk_more_answer_one[name],
            metadata=OrderedMetadata(onward(incoming.received)),
            timeout=incoming.remaining,
        )
        return await self._conclude(incoming, relay.stream_unary(call, stream, context, incoming.exchange))

    async def talk_bidirectional(self, name: str, _: object, context: Context) -> None:
        incoming = self._tracker.begin(f"/{name}/TalkBidirectional", context)
        call, stream = requests.start(
            self._onward.talk_bidirectional[name],
            metadata=OrderedMetadata(onward(incoming.received)),
            timeout=incoming.remaining,
        )
        await self._conclude(incoming, relay.stream_stream(call, stream, context, incoming.exchange))

    def _conclude(self, incoming: IncomingCall, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        if self._others:
            headers = onward(incoming.received)
            work = self._others.beside(work, incoming.rpc, metadata=headers, remaining=incoming.remaining)
        return self._tracker.conclude(incoming, work)


class Answerer:
    """The last hop: answers with greetings."""

    def __init__(self, tracker: CallTracker) -> None:
        self._tracker = tracker

    async def talk(self, name: str, request: bytes, context: Context) -> bytes:
        incoming = self._tracker.begin(f"/{name}/Talk", context)
        return await self._tracker.conclude(incoming, _answer_one(request, incoming.exchange))

    async def talk_one_answer_more(self, name: str, request: bytes, context: Context) -> None:
        incoming = self._tracker.begin(f"/{name}/TalkOneAnswerMore", context)
        await self._tracker.conclude(incoming, _answer_more(request, context, incoming.exchange))

    async def talk_more_answer_one(self, name: str, _: object, context: Context) -> bytes:
        incoming = self._tracker.begin(f"/{name}/TalkMoreAnswerOne", context)
        return await self._tracker.conclude(incoming, _answer_all(context, incoming.exchange))

    async def talk_bidirectional(self, name: str, _: object, context: Context) -> None:
        incoming = self._tracker.begin(f"/{name}/TalkBidirectional", context)
        await self._tracker.conclude(incoming, _answer_each(context, incoming.exchange))


async def _answer_one(request: bytes, exchange: Exchange) -> bytes:
    exchange.messages_in = 1
    answer = _answer(request)
    exchange.messages_out = 1
    return answer


async def _answer_more(request: bytes, context: Context, exchange: Exchange) -> None:
    exchange.messages_in = 1
    indices = answers.indices(request)
    answers.check(indices)
    for index in indices:
        await context.write(answers.answer([answers.result(index)]))
        exchange.messages_out += 1


async def _answer_all(context: Context, exchange: Exchange) -> bytes:
    results: list[TalkResult] = []
    while (request := await relay.next_request(context)) is not None:
        exchange.messages_in += 1
        if exchange.messages_in > MOST_REQUESTS:
            raise answers.invalid(f"more than {MOST_REQUESTS} requests came")
        results.append(answers.result(answers.parse(request).data))
    exchange.messages_out = 1
    return answers.answer(results)


async def _answer_each(context: Context, exchange: Exchange) -> None:
    while (request := await relay.next_request(context)) is not None:
        exchange.messages_in += 1
        await context.write(_answer(request))
        exchange.messages_out += 1


def _answer(request: bytes) -> bytes:
    return answers.answer([answers.result(answers.parse(request).data)])
