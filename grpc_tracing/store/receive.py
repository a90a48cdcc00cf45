"""Spans in over HTTP: OTLP in protobuf and JSON, Zipkin v2 in JSON."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.code_pb2 import INVALID_ARGUMENT
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from grpc_tracing.spans.formats import otlp, zipkin
from grpc_tracing.store.bodies import Bodies, RefusedError
from grpc_tracing.store.forward import Forwarder
from grpc_tracing.store.store import TraceStore
from grpc_tracing.store.tail import Tail

BAD_IDS = "a trace id has 16 bytes, a span id 8, and neither is all zero"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
OTLP_GRPC, OTLP_HTTP, ZIPKIN, CALLS = "otlp_grpc", "otlp_http", "zipkin", "calls"

GONE: Final = 499
"""The status of a request whose sender gave up; HTTP itself has none."""


class Reason(StrEnum):
    """Why a request is not taken: what is wrong with it, or why there was no time for it."""

    UNREADABLE = "unreadable"
    SLOW = "slow"
    BUSY = "busy"
    GONE = "gone"


_BY_STATUS: Final = {408: Reason.SLOW, GONE: Reason.GONE, 503: Reason.BUSY}


def reason_of(error: Exception) -> Reason:
    """Of one that a request ended with."""
    if isinstance(error, ClientDisconnect):
        return Reason.GONE
    return _BY_STATUS.get(error.status, Reason.UNREADABLE) if isinstance(error, RefusedError) else Reason.UNREADABLE


class Refusal(NamedTuple):
    """What refused requests are counted by."""

    protocol: str
    reason: Reason


class Kept(NamedTuple):
    """Of the spans of a request: how many are kept, how many are not, and why not, for the sender."""

    spans: int
    rejected: int
    why: str


class Keeper(Protocol):
    """Keeps the spans of requests."""

    def keep(self, request: ExportTraceServiceRequest) -> Kept: ...


@dataclass(frozen=True)
class Chunks:
    """Keeps them as the store does."""

    store: TraceStore | Tail
    forwarder: Forwarder | None = None
    """Takes them too."""

    def keep(self, request: ExportTraceServiceRequest) -> Kept:
        chunks, rejected = otlp.split(request)
        if chunks:
            self.store.add(chunks)
        if self.forwarder:
            self.forwarder.offer(chunks)
        return Kept(sum(chunk.spans for chunk in chunks), rejected, BAD_IDS)


class Receiver:
    """Takes spans in from every protocol and counts what it takes and what it refuses, by protocol."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.bodies = Bodies()
        self.refusals: Counter[Refusal] = Counter()
        self.rejected_spans = 0
        self.read_bytes = 0

    @property
    def refused(self) -> Counter[str]:
        """Requests by protocol."""
        found: Counter[str] = Counter()
        for refusal, count in self.refusals.items():
            found[refusal.protocol] += count
        return found

    def refuse(self, protocol: str, reason: Reason) -> None:
        """Counts a request that is not taken."""
        self.refusals[Refusal(protocol, reason)] += 1

    def take(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        """Keeps the spans; those that are not kept are told to the sender as OTLP's partial success.

        Raises MalformedError where nothing can be kept: a success would hide it.
        """
        kept, rejected, why = self._keeper.keep(request)
        self.rejected_spans += rejected
        if request.resource_spans and not kept:
            raise otlp.MalformedError(f"no span can be kept: {why if rejected else 'there is none in it'}")
        if not rejected:
            return ExportTraceServiceResponse()
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=why)
        )

    async def otlp_http(self, request: Request) -> Response:
        """`POST /v1/traces`, as OTLP's specification has it."""
        kind = _content_type(request)
        parse = {PROTOBUF: otlp.parse_protobuf, JSON: otlp.parse_json}.get(kind)
        return await self._answer(OTLP_HTTP, request, kind, parse)

    async def zipkin_http(self, request: Request) -> Response:
        """`POST /api/v2/spans`, as Zipkin's API has it."""
        kind = _content_type(request)
        answer = await self._answer(ZIPKIN, request, kind, zipkin.parse if kind == JSON else None)
        return Response(status_code=202) if answer.status_code == 200 else answer

    async def zipkin_v1(self, _: Request) -> Response:
        """`POST /api/v1/spans`, which old tracers use."""
        self.refuse(ZIPKIN, Reason.UNREADABLE)
        return _encode(Status(code=INVALID_ARGUMENT, message=zipkin.V1), JSON, 400)

    async def _answer(
        self, protocol: str, request: Request, kind: str, parse: Callable[[bytes], ExportTraceServiceRequest] | None
    ) -> Response:
        try:
            async with self.bodies.read(request) as body:
                if parse is None:
                    raise RefusedError(415, f"content-type {kind!r} is not known here; use {_known(protocol)}")
                self.read_bytes += len(body)
                return _encode(self.take(parse(body)), kind, 200)
        except (ClientDisconnect, otlp.MalformedError, RefusedError) as caught:
            self.refuse(protocol, reason_of(caught))
            error = _refusal(caught)
        answer = _encode(Status(code=INVALID_ARGUMENT, message=str(error)), kind, error.status)
        answer.headers.update(error.headers)
        return answer


def _refusal(error: Exception) -> RefusedError:
    """As HTTP tells it."""
    if isinstance(error, RefusedError):
        return error
    return RefusedError(400, "the body was cut off" if isinstance(error, ClientDisconnect) else str(error))


def _known(protocol: str) -> str:
    return JSON if protocol == ZIPKIN else f"{PROTOBUF} or {JSON}"


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _encode(message: Message, kind: str, status: int) -> Response:
    if kind == PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=PROTOBUF)
    return Response(MessageToJson(message, indent=None), status, media_type=JSON)


def application(receiver: Receiver) -> Starlette:
    """What listens on the ports for OTLP over HTTP and for Zipkin."""
    return Starlette(
        routes=[
            Route("/v1/traces", receiver.otlp_http, methods=["POST"]),
            Route("/api/v2/spans", receiver.zipkin_http, methods=["POST"]),
            Route("/api/v1/spans", receiver.zipkin_v1, methods=["POST"]),
        ]
    )
