"""Uploads that do not come to their end, and what the last hop has to see of them: never a half-close."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import Popen

import pytest

from tests.support.waiting import wait_for
from tests.support.wire import GONE, HALF_CLOSED, RESET, WireCaller, WireLeaf

in_both_patterns = pytest.mark.parametrize("rpc", ["TalkMoreAnswerOne", "TalkBidirectional"])


@dataclass(frozen=True)
class OneHop:
    """A hop as a process, in front of a leaf that tells how each request stream ended.

    `calls` go at once, so that a half-close that only sometimes wins against the cancellation is found.
    """

    process: Popen[bytes]
    target: str
    leaf: WireLeaf
    calls: int

    @contextmanager
    def uploads(self, rpc: str, timeout: str | None = None) -> Iterator[tuple[WireCaller, list[int]]]:
        """A caller in the midst of `calls` uploads, whose first messages have arrived; `timeout` is such as ``3S``."""
        caller = WireCaller(self.target)
        try:
            streams = [caller.begin(rpc, timeout) for _ in range(self.calls)]
            self.wait_for_first_messages()
            yield caller, streams
        finally:
            caller.vanish()

    def wait_for_first_messages(self) -> None:
        wait_for(lambda: self.leaf.began == self.calls, "the first messages arrive")

    def endings(self) -> dict[str, int]:
        """How many uploads came to which end, once all have."""
        wait_for(lambda: self.leaf.endings.total() == self.calls, f"{self.calls} uploads end: {self.leaf.endings}")
        return dict(self.leaf.endings)


@in_both_patterns
class CutUploads:
    """What holds of every hop; a test class of it has the fixture `hop` beside it."""

    deadline = "3S"

    def test_a_caller_that_cancels_resets_the_upload(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc) as (caller, streams):
            for stream in streams:
                caller.reset(stream)
            assert hop.endings() == {RESET: hop.calls}

    def test_a_caller_whose_connection_is_gone_resets_the_upload(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc) as (caller, _):
            caller.vanish()
            assert hop.endings() == {RESET: hop.calls}

    def test_a_deadline_resets_the_upload(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc, timeout=self.deadline):
            assert hop.endings() == {RESET: hop.calls}

    def test_a_hop_that_is_stopped_half_closes_nothing(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc):
            hop.process.send_signal(signal.SIGTERM)
            assert hop.endings().keys() <= {RESET, GONE}

    def test_a_caller_that_half_closes_ends_the_upload_well(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc) as (caller, streams):
            for stream in streams:
                caller.half_close(stream)
            assert hop.endings() == {HALF_CLOSED: hop.calls}

    def test_a_cut_upload_leaves_the_others_of_its_connection_alone(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc) as (caller, streams):
            for stream in streams[::2]:
                caller.reset(stream)
            wait_for(lambda: hop.leaf.endings.total() == hop.calls // 2, "the cut ones end")
            for stream in streams[1::2]:
                caller.half_close(stream)
            assert hop.endings() == {RESET: hop.calls // 2, HALF_CLOSED: hop.calls // 2}
