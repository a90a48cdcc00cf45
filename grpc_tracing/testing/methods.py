"""Methods of the service under test: a path, a pattern, and a request that makes it call its next hop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import grpc

from grpc_tracing.headers.families import Metadata

Pattern = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


class Message(Protocol):
    """A message of protobuf."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802 (protobuf's own name)


@dataclass(frozen=True, slots=True)
class Method:
    """`path` as gRPC has it: ``/package.Service/Method``. A stream of requests is this one, twice."""

    path: str
    pattern: Pattern
    request: bytes

    def begin(self, channel: grpc.Channel, metadata: Metadata, timeout: float) -> Any:
        """Starts a call: with answers that stream an iterator, else a future."""
        made: Any = getattr(channel, self.pattern)(self.path)
        call = made if self.pattern.endswith("stream") else made.future
        requests = self._requests() if self.pattern.startswith("stream") else self.request
        return call(requests, metadata=metadata, timeout=timeout)

    def finish(self, call: Any) -> None:
        """Waits for all answers; grpc.RpcError where the call ends with another status than OK."""
        if self.pattern.endswith("stream"):
            list(call)
        else:
            call.result()

    def _requests(self) -> Iterator[bytes]:
        yield self.request
        yield self.request


def unary_unary(path: str, request: bytes | Message) -> Method:
    return Method(path, "unary_unary", _serialized(request))


def unary_stream(path: str, request: bytes | Message) -> Method:
    return Method(path, "unary_stream", _serialized(request))


def stream_unary(path: str, request: bytes | Message) -> Method:
    return Method(path, "stream_unary", _serialized(request))


def stream_stream(path: str, request: bytes | Message) -> Method:
    return Method(path, "stream_stream", _serialized(request))


def _serialized(request: bytes | Message) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()
