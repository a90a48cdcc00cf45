"""Servers' method handlers with something put around what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc

Behavior = Callable[..., Any]

_KINDS: Final[dict[tuple[bool, bool], tuple[str, Callable[..., Any]]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""By streamed requests and streamed answers: the attribute that holds the behavior, and what makes such a handler."""


def behavior_of(handler: Any) -> Behavior:
    """What the handler does, by its pattern."""
    behavior: Behavior = getattr(handler, _KINDS[handler.request_streaming, handler.response_streaming][0])
    return behavior


def replaced(handler: Any, behavior: Behavior) -> Any:
    """The handler with another behavior, of the same pattern and messages."""
    make = _KINDS[handler.request_streaming, handler.response_streaming][1]
    return make(behavior, handler.request_deserializer, handler.response_serializer)
