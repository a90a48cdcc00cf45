"""What the last hop sees at the wire of an upload through svc2 that did not come to its end: never a half-close."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from grpc_tracing.calling.limits import MESSAGE_LIMIT
from tests.docs.wire import GONE, HALF_CLOSED, RESET, WireCaller, WireLeaf, wire_leaf
from tests.support.processes import Service, service
from tests.support.waiting import wait_for

CALLS = 60
"""At once, so that a half-close that only sometimes wins against the cancellation is found."""
OVERSIZED_BEGINS = b"\0" + (MESSAGE_LIMIT + 1).to_bytes(4, "big")
"""gRPC's framing says that the message is longer than the limit: none of it need come."""

in_both_patterns = pytest.mark.parametrize("rpc", ["TalkMoreAnswerOne", "TalkBidirectional"])


@dataclass(frozen=True)
class OneHop:
    """svc2 as a process, in front of a leaf that tells how each request stream ended."""

    svc2: Service
    target: str
    leaf: WireLeaf


@pytest.fixture
def hop(tmp_path: Path) -> Iterator[OneHop]:
    with (
        wire_leaf() as (address, leaf),
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=address, grace="100ms") as svc2,
    ):
        yield OneHop(svc2, svc2.addresses[0], leaf)


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
    with uploads(hop, rpc, timeout="3S"):
        assert endings(hop.leaf) == {RESET: CALLS}


@in_both_patterns
def test_an_oversized_message_resets_the_upload(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams:
            caller.send(stream, OVERSIZED_BEGINS)
        assert endings(hop.leaf) == {RESET: CALLS}


@in_both_patterns
def test_a_hop_that_is_stopped_half_closes_nothing(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc):
        hop.svc2.process.send_signal(signal.SIGTERM)
        assert endings(hop.leaf).keys() <= {RESET, GONE}


@in_both_patterns
def test_a_caller_that_half_closes_ends_the_upload_well(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams:
            caller.half_close(stream)
        assert endings(hop.leaf) == {HALF_CLOSED: CALLS}


@in_both_patterns
def test_a_cut_upload_leaves_the_others_of_its_connection_alone(hop: OneHop, rpc: str) -> None:
    with uploads(hop, rpc) as (caller, streams):
        for stream in streams[::2]:
            caller.reset(stream)
        wait_for(lambda: hop.leaf.endings.total() == CALLS // 2, "the cut ones end")
        for stream in streams[1::2]:
            caller.half_close(stream)
        assert endings(hop.leaf) == {RESET: CALLS // 2, HALF_CLOSED: CALLS // 2}
