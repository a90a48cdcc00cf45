"""Interceptors for `grpc.aio`.

``grpc.aio.server(interceptors=aio.server_interceptors())`` keeps the headers of each call while it lasts, and
``grpc.aio.insecure_channel(target, interceptors=aio.client_interceptors())`` puts them on the calls made meanwhile.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import grpc.aio

from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.forwarding import DEFAULT, Propagation
from grpc_tracing.propagation.handlers import Behavior, behavior_of, replaced
from grpc_tracing.propagation.outgoing import outgoing
from grpc_tracing.propagation.received import keep


def server_interceptors() -> list[grpc.aio.ServerInterceptor]:
    """For `interceptors=` of a server; the order among others does not matter."""
    return [_Server()]


def client_interceptors(rule: Propagation = DEFAULT) -> list[grpc.aio.ClientInterceptor]:
    """For `interceptors=` of a channel; the order among others does not matter.

    Four: a channel sorts interceptors by their first base, and asks one that has all four for unary calls alone.
    """
    return [_UnaryUnary(rule), _UnaryStream(rule), _StreamUnary(rule), _StreamStream(rule)]


class _Server(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[..., Any], handler_call_details: Any) -> Any:
        # The call's own task: the handler runs in it, whatever its pattern, with the context that is set here.
        keep(handler_call_details.invocation_metadata, asyncio.current_task())
        handler = await continuation(handler_call_details)
        return handler if handler is None or _runs_here(behavior_of(handler)) else _in_context(handler)


def _runs_here(behavior: Behavior) -> bool:
    return inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior)


def _in_context(handler: Any) -> Any:
    """A synchronous handler, which grpc.aio runs in a pool of threads without the context."""
    behavior, context = behavior_of(handler), contextvars.copy_context()

    def answer(request: Any, servicer_context: Any) -> Any:
        return context.run(behavior, request, servicer_context)

    def answers(request: Any, servicer_context: Any) -> Iterator[Any]:
        iterator, ended = iter(answer(request, servicer_context)), object()
        while (message := context.run(next, iterator, ended)) is not ended:
            yield message

    return replaced(handler, answers if handler.response_streaming else answer)


class _Client:
    def __init__(self, rule: Propagation) -> None:
        self._rule = rule

    def _with_headers(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        given = () if details.metadata is None else details.metadata
        return grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            OrderedMetadata(outgoing(given, self._rule)),
            details.credentials,
            details.wait_for_ready,
        )


def _cancelled_with_its_task(call: Any) -> Any:
    """The call, which ends where the task of its interceptors is cancelled.

    Others' interceptors, such as those of auto-instrumentation, await the end of a call with one answer; cancelled
    meanwhile they would leave it running (grpcio 1.85).
    """
    if interceptors := asyncio.current_task():
        interceptors.add_done_callback(lambda ended: ended.cancelled() and call.cancel())
    return call


class _UnaryUnary(_Client, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return _cancelled_with_its_task(await continuation(self._with_headers(client_call_details), request))


class _UnaryStream(_Client, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._with_headers(client_call_details), request)


class _StreamUnary(_Client, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return _cancelled_with_its_task(await continuation(self._with_headers(client_call_details), request_iterator))


class _StreamStream(_Client, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await continuation(self._with_headers(client_call_details), request_iterator)
