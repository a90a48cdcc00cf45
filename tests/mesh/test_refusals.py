"""Whose refusal it is does not show on the wire, so a hop names the edge for each that comes without a record."""

import h2.events
import pytest

from tests.hostile.peer import MESSAGE, Headers, Peer, changed
from tests.mesh.support import mesh
from tests.support.leaf import Leaf, serve


def _blocks(target: str, headers: Headers) -> int:
    """Of how many blocks of headers the answer to a refused call is made."""
    with _Counting(target) as peer:
        assert peer.ask(headers, MESSAGE) != "grpc 0"
        return peer.blocks


class _Counting(Peer):
    blocks = 0

    def _note(self, event: object) -> None:
        self.blocks += isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived)
        super()._note(event)


@pytest.mark.full
def test_a_services_refusal_before_any_answer_is_one_block_of_headers_as_envoys_is() -> None:
    unknown = changed(_path=b"/no.Such/Method")
    with mesh("--tracer", "none") as one, serve("127.0.0.1:0", Leaf()) as service:
        assert (_blocks(one.target, unknown), _blocks(service, unknown)) == (1, 1)
