"""What the last hop answers: the greetings by index, and the facts that come with each."""

import time
import uuid

import pytest

from protos.landing_pb2 import OK, TalkResponse
from tests.support.processes import service
from tests.support.stub import ask, connect

GREETINGS = ["Hello", "Bonjour", "Hola", "こんにちは", "Ciao", "안녕하세요"]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> TalkResponse:
    """One answer to all six."""
    with (
        service("svc3", tmp_path_factory.mktemp("last") / "log", listen="127.0.0.1:0") as last,
        connect(last.addresses[0]) as stub,
    ):
        requests = (ask(str(index)) for index in range(len(GREETINGS)))
        return TalkResponse.FromString(stub.talk_more_answer_one(requests, timeout=20))


def test_each_index_has_its_greeting(answer: TalkResponse) -> None:
    assert [result.kv["data"] for result in answer.results] == GREETINGS
    assert [result.kv["idx"] for result in answer.results] == ["0", "1", "2", "3", "4", "5"]


def test_each_result_says_when_which_and_by_what(answer: TalkResponse) -> None:
    now = time.time()
    assert answer.status == 200
    for result in answer.results:
        assert now - 60 < result.id <= now, "seconds of Unix time"
        assert (result.type, result.kv["meta"]) == (OK, "PYTHON")
        assert set(result.kv) == {"id", "idx", "data", "meta"}
    assert len({uuid.UUID(result.kv["id"]) for result in answer.results}) == len(GREETINGS)
