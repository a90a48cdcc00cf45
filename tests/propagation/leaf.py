"""A last hop for any method, which notes what each call came with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from grpc_tracing.headers.families import Metadata
from tests.support.server import grpc_server


class Leaf(grpc.GenericRpcHandler):
    """Echoes; on the wire a unary call is a stream of one. `metadata` is kept by the call's first message."""

    def __init__(self) -> None:
        self.metadata: dict[bytes, list[Metadata]] = {}
        self.behave: Callable[[grpc.ServicerContext], None] = lambda _: None

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._echo)

    def _echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        first = next(requests)
        came = tuple((key, value) for key, value in context.invocation_metadata() if key != "user-agent")
        self.metadata.setdefault(first, []).append(came)
        self.behave(context)
        for _ in requests:
            pass
        yield first


@contextmanager
def serve(leaf: Leaf) -> Iterator[str]:
    """Its address while the block lasts."""
    with grpc_server(leaf, threads=80) as address:
        yield address
