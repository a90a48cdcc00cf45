"""What the last hop sees at the wire of an upload that did not come to its end: never a half-close."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.examples import GETTING
from tests.docs.conftest import Example
from tests.docs.hops import running
from tests.support.stub import Stub, ask, connect
from tests.support.uploads import CutUploads, OneHop
from tests.support.wire import RESET, free_address, wire_leaf

pytestmark = pytest.mark.timeout(2 * GETTING)

CALLS = 20
OVERSIZED = ask("0" * (5 * 1024 * 1024))


@pytest.fixture
def hop(example: Example, tmp_path: Path) -> Iterator[OneHop]:
    listen = free_address()
    with (
        wire_leaf() as (address, leaf),
        running(example.command, listen, address, tmp_path / "hop.log") as process,
    ):
        yield OneHop(process, listen, leaf, CALLS)


class TestAnExample(CutUploads):
    deadline = "2S"

    def test_an_oversized_message_resets_the_upload(self, hop: OneHop, rpc: str) -> None:
        done, begin = threading.Event(), BEGIN[rpc]

        def requests() -> Iterator[bytes]:
            yield ask("0")
            hop.wait_for_first_messages()
            yield OVERSIZED
            done.wait(60)

        with connect(hop.target) as stub:
            calls = [begin(stub, requests()) for _ in range(CALLS)]
            try:
                assert hop.endings() == {RESET: CALLS}
                assert {call.code().name for call in calls} <= {"RESOURCE_EXHAUSTED", "CANCELLED"}
            finally:
                done.set()


BEGIN: dict[str, Callable[[Stub, Iterator[bytes]], Any]] = {
    "TalkMoreAnswerOne": lambda stub, requests: stub.talk_more_answer_one.future(requests),
    "TalkBidirectional": lambda stub, requests: stub.talk_bidirectional(requests),
}
