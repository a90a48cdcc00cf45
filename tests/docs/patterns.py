"""One call in each of the four patterns, begun and ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from protos.landing_pb2 import TalkResponse
from tests.support.leaf import Leaf
from tests.support.stub import Stub, ask

ASK = ask("0")
ANSWER = TalkResponse(status=200).SerializeToString()


@dataclass(frozen=True)
class Pattern:
    """How calls of one pattern begin, with `metadata` and `timeout`, and what answers they give."""

    name: str
    begin: Callable[..., Any]
    answers_once: bool

    def call(self, stub: Stub, **options: Any) -> Any:
        """Makes a call to its end and gives it, whatever its status."""
        call = self.begin(stub, **options)
        try:
            answers = [call.result()] if self.answers_once else list(call)
            assert set(answers) == {ANSWER}
        except grpc.RpcError:
            pass
        return call


PATTERNS = (
    Pattern("unary_unary", lambda stub, **options: stub.talk.future(ASK, **options), answers_once=True),
    Pattern("unary_stream", lambda stub, **options: stub.talk_one_answer_more(ASK, **options), answers_once=False),
    Pattern(
        "stream_unary",
        lambda stub, **options: stub.talk_more_answer_one.future(iter([ASK, ASK]), **options),
        answers_once=True,
    ),
    Pattern(
        "stream_stream",
        lambda stub, **options: stub.talk_bidirectional(iter([ASK, ASK]), **options),
        answers_once=False,
    ),
)
in_each_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)


def answering(leaf: Leaf) -> None:
    """Makes the leaf answer once, or once for each request, and end well."""
    leaf.talk = leaf.talk_more_answer_one = lambda requests, _: ANSWER if list(requests) else b""
    leaf.talk_one_answer_more = lambda *_: [ANSWER] * 3
    leaf.talk_bidirectional = lambda requests, _: (ANSWER for _ in requests)


def doing(leaf: Leaf, do: Callable[[grpc.ServicerContext], None]) -> None:
    """Makes the leaf read all requests and do this before it answers, in every pattern."""

    def answer(requests: Any, context: grpc.ServicerContext) -> bytes:
        list(requests)
        do(context)
        return ANSWER

    leaf.talk = leaf.talk_more_answer_one = answer
    leaf.talk_one_answer_more = leaf.talk_bidirectional = lambda requests, context: iter([answer(requests, context)])
