"""A last hop that answers any method and notes what each call came with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any, Final

import grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from grpc_tracing.headers.families import Metadata

_WORKERS: Final = 64
_TOGETHER: Final = 0.05
"""Seconds that a call waits for others."""


class Leaf(grpc.GenericRpcHandler):
    """Serves while its ``with`` block lasts. `answers` holds serialized answers by path; any other gets an empty one.

    An empty message is a valid answer of any protobuf type.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.fails = False
        """Whether calls end with RESOURCE_EXHAUSTED."""
        self.holds = False
        """Whether calls stay open until they are cancelled."""
        self.gathers = False
        """Whether a call waits a moment for others, so that calls that can meet do meet."""
        self._came: list[Metadata] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Leaf:
        self._server = grpc.server(futures.ThreadPoolExecutor(_WORKERS), handlers=[self], options=LIMIT_OPTIONS)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def take(self, at_least: int, within: float) -> list[Metadata]:
        """What came since the last time; returns once there are `at_least` calls, or after `within` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._came) >= at_least, within)
            taken, self._came = self._came, []
        return taken

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        # On the wire a unary call is a stream of one.
        path = handler_call_details.method

        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            self._note(context)
            if self.holds:
                ended = threading.Event()
                if context.add_callback(ended.set):
                    ended.wait()
            if self.fails:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the last hop was told to fail")
            for _ in requests:
                pass
            yield self.answers.get(path, b"")

        return grpc.stream_stream_rpc_method_handler(answer)

    def _note(self, context: grpc.ServicerContext) -> None:
        came = tuple((key, value) for key, value in context.invocation_metadata())
        with self._changed:
            self._came.append(came)
            self._changed.notify_all()
            if self.gathers:
                count = len(self._came)
                self._changed.wait_for(lambda: len(self._came) != count, _TOGETHER)
