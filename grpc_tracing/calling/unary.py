"""One request and one answer, past what grpc.aio makes for each such call beside the call itself.

That is a task, an entry in a set and copies of all metadata: some 5 % of a forwarding hop's CPU (bench/README.md).
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import grpc.aio
from grpc.aio import _call as grpcio

from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.families import Metadata, Pair

UnaryMethod: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"

_KNOWN: Final = "1.85."
"""The grpcio whose inner parts are used here."""
_CANCELLED: Final = "Locally cancelled by application!"


class Answer(NamedTuple):
    """What a call that ended well brought back."""

    message: bytes
    initial_metadata: Sequence[Pair]
    trailing_metadata: Sequence[Pair]


def ask(
    method: UnaryMethod, request: bytes, *, metadata: Metadata, timeout: float | None
) -> Coroutine[Any, Any, Answer]:
    """A call to be awaited at once; `method` must have no serializers, `timeout` is in seconds.

    AioRpcError where the call ends otherwise than well. Whoever cancels the wait cancels the call.
    """
    inner: Any = method
    if not _is_known(inner) or inner._interceptors:
        return _wrapped(method(request, metadata=OrderedMetadata(metadata), timeout=timeout))
    # As UnaryUnaryCall does it (grpcio 1.85), but in the caller's own task.
    deadline = None if timeout is None else time.time() + timeout
    call = inner._channel.call(inner._method, deadline, None, None, inner._registered_call_handle)
    return _own(call, request, metadata)


def _is_known(method: Any) -> bool:
    """Whether grpcio is as it is here taken to be; of another version what all take is taken."""
    return grpc.__version__.startswith(_KNOWN) and hasattr(method, "_registered_call_handle")


async def _own(call: Any, request: bytes, metadata: Metadata) -> Answer:
    try:
        message: bytes = await call.unary_unary(request, metadata)
    finally:
        if not call.done():
            call.cancel(_CANCELLED)
    if not call.is_ok():
        raise grpcio._create_rpc_error(call._initial_metadata, call._status)
    return Answer(message, call._initial_metadata, call._status.trailing_metadata())


async def _wrapped(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> Answer:
    """The public way: of a channel with interceptors, which take grpcio's own object, and of any other grpcio."""
    try:
        message = await call
        return Answer(message, tuple(await call.initial_metadata()), tuple(await call.trailing_metadata()))
    finally:
        call.cancel()
