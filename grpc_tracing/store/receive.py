"""Spans in over HTTP: OTLP in protobuf and JSON, Zipkin v2 in JSON."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
        self.refused: Counter[str] = Counter()
        self.rejected_spans = 0
        self.read_bytes = 0

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
        return await self._answer("otlp_http", request, kind, parse)

    async def zipkin_http(self, request: Request) -> Response:
        """`POST /api/v2/spans`, as Zipkin's API has it."""
        kind = _content_type(request)
        answer = await self._answer("zipkin", request, kind, zipkin.parse if kind == JSON else None)
        return Response(status_code=202) if answer.status_code == 200 else answer

    async def zipkin_v1(self, _: Request) -> Response:
        """`POST /api/v1/spans`, which old tracers use."""
        self.refused["zipkin"] += 1
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
        except ClientDisconnect:
            error = RefusedError(400, "the body was cut off")
        except otlp.MalformedError as malformed:
            error = RefusedError(400, str(malformed))
        except RefusedError as refused:
            error = refused
        self.refused[protocol] += 1
        answer = _encode(Status(code=INVALID_ARGUMENT, message=str(error)), kind, error.status)
        answer.headers.update(error.headers)
        return answer


def _known(protocol: str) -> str:
    return JSON if protocol == "zipkin" else f"{PROTOBUF} or {JSON}"


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
