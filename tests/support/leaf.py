"""A last hop of the test's own: what it does in each RPC is the test's to say."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from talk.relay import SERVICES
from tests.support.server import grpc_server

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Gets the request's bytes or an iterator of them, and the context; gives the answer's bytes or an iterable of them."""


class Leaf:
    """Serves the contract on bytes. Set the four behaviours; `metadata` holds what the last call came with."""

    def __init__(self) -> None:
        self.talk: Behaviour = lambda request, _: request
        self.talk_one_answer_more: Behaviour = lambda request, _: [request]
        self.talk_more_answer_one: Behaviour = lambda requests, _: b"".join(requests)
        self.talk_bidirectional: Behaviour = lambda requests, _: requests
        self.metadata: list[tuple[str, str | bytes]] = []
        self.remaining: float | None = None
        self.cancelled = threading.Event()

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        return [
            grpc.method_handlers_generic_handler(
                name,
                {
                    "Talk": grpc.unary_unary_rpc_method_handler(self._one("talk")),
                    "TalkOneAnswerMore": grpc.unary_stream_rpc_method_handler(self._many("talk_one_answer_more")),
                    "TalkMoreAnswerOne": grpc.stream_unary_rpc_method_handler(self._one("talk_more_answer_one")),
                    "TalkBidirectional": grpc.stream_stream_rpc_method_handler(self._many("talk_bidirectional")),
                },
            )
            for name in SERVICES
        ]

    def _one(self, name: str) -> Behaviour:
        def serve(request: Any, context: grpc.ServicerContext) -> bytes:
            self._note(context)
            answer: bytes = getattr(self, name)(request, context)
            return answer

        return serve

    def _many(self, name: str) -> Behaviour:
        def serve(request: Any, context: grpc.ServicerContext) -> Iterable[bytes]:
            self._note(context)
            yield from getattr(self, name)(request, context)

        return serve

    def _note(self, context: grpc.ServicerContext) -> None:
        self.metadata = [(key, value) for key, value in context.invocation_metadata()]
        self.remaining = context.time_remaining()
        context.add_callback(self.cancelled.set)


@contextmanager
def serve(address: str, leaf: Leaf, **options: int) -> Iterator[str]:
    """Serves the leaf at a Unix socket or TCP address until the block ends; gives the address bound."""
    chosen = [*LIMIT_OPTIONS, *((f"grpc.{name}", value) for name, value in options.items())]
    with grpc_server(*leaf.handlers(), address=address, options=chosen) as bound:
        yield bound
