"""Interceptors for the synchronous API.

``grpc.server(pool, interceptors=sync.server_interceptors())`` keeps the headers of each call while it lasts, and
``grpc.intercept_channel(channel, *sync.client_interceptors())`` puts them on the calls made meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import grpc

from grpc_tracing.headers.forwarding import DEFAULT, Propagation
from grpc_tracing.propagation.handlers import Behavior, behavior_of, replaced
from grpc_tracing.propagation.outgoing import outgoing
from grpc_tracing.propagation.received import Received, keep, lasting


def server_interceptors() -> list[grpc.ServerInterceptor]:
    """For `interceptors=` of a server; the order among others does not matter."""
    return [_Server()]


def client_interceptors(rule: Propagation = DEFAULT) -> list[_Client]:
    """For `grpc.intercept_channel`; the order among others does not matter."""
    return [_Client(rule)]


class _Server(grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[..., Any], handler_call_details: Any) -> Any:
        received = keep(handler_call_details.invocation_metadata)
        handler = continuation(handler_call_details)
        return None if handler is None else replaced(handler, _served(handler, received))


def _served(handler: Any, received: Received) -> Behavior:
    behavior = behavior_of(handler)

    def answer(request: Any, context: Any) -> Any:
        _keep_in_callbacks(context)
        try:
            return behavior(request, context)
        finally:
            received.end()

    def answers(request: Any, context: Any) -> Iterator[Any]:
        _keep_in_callbacks(context)
        return _ended_with(behavior(request, context), received)

    return answers if handler.response_streaming else answer


def _ended_with(answers: Iterable[Any], received: Received) -> Iterator[Any]:
    try:
        yield from answers
    finally:
        received.end()


def _keep_in_callbacks(context: Any) -> None:
    """gRPC runs the callbacks of `add_callback` in a thread of its own, after the call."""
    add = context.add_callback

    def add_callback(callback: Callable[[], None]) -> bool:
        added: bool = add(partial(lasting().run, callback))
        return added

    with contextlib.suppress(AttributeError):  # a context of somebody else's class that takes no attributes
        context.add_callback = add_callback


class _Details(grpc.ClientCallDetails):
    """The call's details with other metadata; what they lack stays missing, and gRPC puts its defaults there."""

    def __init__(self, details: Any, metadata: Any) -> None:
        self._details = details
        self.metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._details, name)


class _Client(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, rule: Propagation) -> None:
        self._rule = rule

    def _with_headers(self, details: Any) -> _Details:
        return _Details(details, outgoing(details.metadata or (), self._rule))

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_headers(client_call_details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_headers(client_call_details), request)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._with_headers(client_call_details), request_iterator)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._with_headers(client_call_details), request_iterator)
