"""The answers: those asked for pass, all others are named."""

import pytest

from client.call.answers import indices_asked, wrong_answers
from protos.landing_pb2 import FAIL, TalkResponse, TalkResult
from tests.client.evidence import answer

THREE = (0, 3, 5)
RIGHT: list[tuple[str, tuple[int, ...], list[TalkResponse]]] = [
    ("Talk", (0,), [answer(0)]),
    ("TalkOneAnswerMore", THREE, [answer(0), answer(3), answer(5)]),
    ("TalkMoreAnswerOne", THREE, [answer(0, 3, 5)]),
    ("TalkBidirectional", THREE, [answer(0), answer(3), answer(5)]),
    ("Talk", (0,), [answer(0, meta="JAVA")]),
]


@pytest.mark.parametrize(("rpc", "asked", "responses"), RIGHT)
def test_what_was_asked_for_is_right(rpc: str, asked: tuple[int, ...], responses: list[TalkResponse]) -> None:
    assert wrong_answers(rpc, asked, responses) == []


FAILED = TalkResponse(status=500, results=[TalkResult(type=FAIL, kv=dict(answer(0).results[0].kv))])
WRONG: list[tuple[str, tuple[int, ...], list[TalkResponse], list[str]]] = [
    ("Talk", (0,), [], ["0 response messages, expected 1", "0 answers, expected 1"]),
    ("Talk", (1,), [answer(2)], ["answer 1: idx '2', asked for '1'", "answer 1: data 'Hola', expected 'Bonjour'"]),
    ("Talk", (0,), [answer(0, data="Hallo")], ["answer 1: data 'Hallo', expected 'Hello'"]),
    ("Talk", (0,), [answer(0, meta="", id="")], ["answer 1: id is missing", "answer 1: meta is missing"]),
    ("Talk", (0,), [FAILED], ["a response says status 500, expected 200", "answer 1: its type is 1, expected 0 (OK)"]),
    ("TalkBidirectional", THREE, [answer(0, 3, 5)], ["1 response messages, expected 3"]),
    ("TalkMoreAnswerOne", THREE, [answer(0), answer(3), answer(5)], ["3 response messages, expected 1"]),
    (
        "TalkOneAnswerMore",
        (0, 1),
        [answer(0), answer(1), answer(1)],
        ["3 response messages, expected 2", "3 answers, expected 2"],
    ),
    (
        "TalkOneAnswerMore",
        (0, 1),
        [answer(1), answer(0)],
        [
            "answer 1: idx '1', asked for '0'",
            "answer 1: data 'Bonjour', expected 'Hello'",
            "answer 2: idx '0', asked for '1'",
            "answer 2: data 'Hello', expected 'Bonjour'",
        ],
    ),
]


@pytest.mark.parametrize(("rpc", "asked", "responses", "lines"), WRONG)
def test_what_is_wrong_is_named(
    rpc: str, asked: tuple[int, ...], responses: list[TalkResponse], lines: list[str]
) -> None:
    assert wrong_answers(rpc, asked, responses) == lines


def test_talk_asks_for_one_greeting_and_the_streams_for_all() -> None:
    assert indices_asked("Talk", (2, 1)) == (2,)
    assert indices_asked("TalkBidirectional", (2, 1)) == (2, 1)
