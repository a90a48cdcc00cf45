"""What the last hop sees at the wire of an upload through svc2 that did not come to its end: never a half-close."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grpc_tracing.calling.limits import MESSAGE_LIMIT
from tests.support.processes import service
from tests.support.uploads import CutUploads, OneHop
from tests.support.wire import RESET, wire_leaf

CALLS = 60
OVERSIZED_BEGINS = b"\0" + (MESSAGE_LIMIT + 1).to_bytes(4, "big")
"""gRPC's framing says that the message is longer than the limit: none of it need come."""


@pytest.fixture
def hop(tmp_path: Path) -> Iterator[OneHop]:
    with (
        wire_leaf() as (address, leaf),
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=address, grace="100ms") as svc2,
    ):
        yield OneHop(svc2.process, svc2.addresses[0], leaf, CALLS)


class TestSvc2(CutUploads):
    def test_an_oversized_message_resets_the_upload(self, hop: OneHop, rpc: str) -> None:
        with hop.uploads(rpc) as (caller, streams):
            for stream in streams:
                caller.send(stream, OVERSIZED_BEGINS)
            assert hop.endings() == {RESET: CALLS}
