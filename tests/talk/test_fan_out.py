"""A hop that calls others beside its next hop, forwards by RPC, and has timers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.leaf import Leaf, serve
from tests.support.processes import service
from tests.support.stub import Stub, connect
from tests.support.waiting import wait_for
from tests.talk.test_forwarding import Pattern, in_each_pattern, unary_unary

TRACE = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
STREAMS = "TalkOneAnswerMore=none,TalkMoreAnswerOne=none,TalkBidirectional=none"


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stub, Leaf, Leaf]]:
    """A hop with a next hop and another one beside it."""
    folder: Path = tmp_path_factory.mktemp("fan")
    first, other = Leaf(), Leaf()
    listen = {"next_hop": f"unix:{folder}/first", "also_call": f"other=unix:{folder}/other"}
    with (
        serve(f"unix:{folder}/first", first),
        serve(f"unix:{folder}/other", other),
        service("svc2", folder / "log", listen="127.0.0.1:0", propagate_by_rpc=STREAMS, **listen) as hop,
        connect(hop.addresses[0]) as stub,
    ):
        yield stub, first, other


@in_each_pattern
def test_both_are_called_with_the_headers_of_the_calls_rpc(leaves: tuple[Stub, Leaf, Leaf], pattern: Pattern) -> None:
    stub, *both = leaves
    for leaf in both:
        leaf.reset()
    assert pattern(stub, metadata=[TRACE], timeout=20).code() is grpc.StatusCode.OK
    forwarded = [dict(leaf.metadata).get("traceparent") for leaf in both]
    assert forwarded == [TRACE[1] if pattern is unary_unary else None] * 2
    assert all(leaf.remaining is not None and 0 < leaf.remaining < 21 for leaf in both)


@in_each_pattern
def test_one_that_fails_fails_the_call_and_is_named(leaves: tuple[Stub, Leaf, Leaf], pattern: Pattern) -> None:
    def refuse(_: object, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    stub, first, other = leaves
    first.reset()
    other.reset()
    other.talk = other.talk_one_answer_more = other.talk_more_answer_one = other.talk_bidirectional = refuse
    # Many: the status may come before the request is sent, and grpcio would then put INTERNAL in its place.
    ended = [pattern(stub, timeout=20) for _ in range(200)]
    statuses = {(call.code(), call.details()) for call in ended}
    assert statuses == {(grpc.StatusCode.NOT_FOUND, "svc2 -> other: no such thing")}


def test_a_timer_calls_without_headers_of_any_call(tmp_path: Path) -> None:
    leaf = Leaf()
    with (
        serve(f"unix:{tmp_path}/leaf", leaf),
        service("svc3", tmp_path / "log", listen="127.0.0.1:0", jobs=f"unix:{tmp_path}/leaf every 50ms"),
    ):
        wait_for(lambda: leaf.metadata, "a call of the timer")
    assert {key for key, _ in leaf.metadata} == {"user-agent"}
