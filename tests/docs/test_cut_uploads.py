"""What the last hop sees at the wire of an upload that did not come to its end: never a half-close."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.docs.conftest import Example
from tests.docs.hops import running
from tests.docs.kinds import GETTING
from tests.docs.wire import GONE, HALF_CLOSED, RESET, WireCaller, WireLeaf, free_address, wire_leaf
from tests.support.stub import Stub, ask, connect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(2 * GETTING)

CALLS = 20
"""At once, so that a half-close that only sometimes wins against the cancellation is found."""
OVERSIZED = ask("0" * (5 * 1024 * 1024))

in_both_patterns = pytest.mark.parametrize("rpc", ["TalkMoreAnswerOne", "TalkBidirectional"])


@dataclass(frozen=True)
class OneHop:
    target: str
    leaf: WireLeaf
    process: Popen[bytes]


@pytest.fixture
def hop(example: Example, tmp_path: Path) -> Iterator[OneHop]:
    listen = free_address()
    with (
        wire_leaf() as (address, leaf),
        running(example.command, listen, address, tmp_path / "hop.log") as process,
    ):
        yield OneHop(listen, leaf, process)


@contextmanager
def uploads(hop: OneHop, rpc: str, timeout: str | None = None) -> Iterator[tuple[WireCaller, list[int]]]:
    """A caller in the midst of CALLS uploads, whose first messages have arrived."""
    caller = WireCaller(hop.target)
    try:
        streams = [caller.begin(rpc, timeout) for _ in range(CALLS)]
        wait_for(lambda: hop.leaf.began == CALLS, "the first messages arrive")
        yield caller, streams
    finally:
        caller.vanish()


def endings(leaf: WireLeaf) -> dict[str, int]:
    wait_for(lambda: leaf.endings.total() == CALLS, f"{CALLS} uploads end: {leaf.endings}")
    return dict(leaf.endings)


@in_both_patterns
def test_a_caller_that_cancels_resets_the_upload(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams:
            caller.reset(stream)
        assert endings(hop.leaf) == {RESET: CALLS}


@in_both_patterns
def test_a_caller_whose_connection_is_gone_resets_the_upload(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, _):
        caller.vanish()
        assert endings(hop.leaf) == {RESET: CALLS}


@in_both_patterns
def test_a_deadline_resets_the_upload(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc, timeout="2S"):
        assert endings(hop.leaf) == {RESET: CALLS}


@in_both_patterns
def test_an_oversized_message_resets_the_upload(hop: OneHop, rpc: str) -> None:
    done, begin = threading.Event(), BEGIN[rpc]

    def requests() -> Iterator[bytes]:
        yield ask("0")
        wait_for(lambda: hop.leaf.began == CALLS, "the first messages arrive")
        yield OVERSIZED
        done.wait(60)

    with connect(hop.target) as stub:
        calls = [begin(stub, requests()) for _ in range(CALLS)]
        try:
            assert endings(hop.leaf) == {RESET: CALLS}
            assert {call.code().name for call in calls} <= {"RESOURCE_EXHAUSTED", "CANCELLED"}
        finally:
            done.set()


@in_both_patterns
def test_a_hop_that_is_stopped_half_closes_nothing(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc):
        hop.process.send_signal(signal.SIGTERM)
        assert endings(hop.leaf).keys() <= {RESET, GONE}


@in_both_patterns
def test_a_caller_that_half_closes_ends_the_upload_well(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams:
            caller.half_close(stream)
        assert endings(hop.leaf) == {HALF_CLOSED: CALLS}


@in_both_patterns
def test_one_callers_cut_upload_leaves_the_others_of_its_connection_alone(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams[::2]:
            caller.reset(stream)
        wait_for(lambda: hop.leaf.endings.total() == CALLS // 2, "the cut ones end")
        for stream in streams[1::2]:
            caller.half_close(stream)
        assert endings(hop.leaf) == {RESET: CALLS // 2, HALF_CLOSED: CALLS // 2}


BEGIN: dict[str, Callable[[Stub, Iterator[bytes]], Any]] = {
    "TalkMoreAnswerOne": lambda stub, requests: stub.talk_more_answer_one.future(requests),
    "TalkBidirectional": lambda stub, requests: stub.talk_bidirectional(requests),
}
