"""Many calls at once: how far they are, and what is said of many alike."""

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.client.evidence import answer
from tests.client.run import client
from tests.client.terminal import client_on_terminal
from tests.support.leaf import Leaf, serve

CALLS = ("call", "--rpc", "Talk", "--concurrency", "8", "--repeat", "200")


@pytest.fixture
def slow() -> Iterator[str]:
    """A service that takes a tenth of a second: 200 calls, eight at a time, take 2.5 s."""
    leaf = Leaf()

    def slowly(_: Any, __: grpc.ServicerContext) -> bytes:
        time.sleep(0.1)
        return answer(0).SerializeToString()

    leaf.talk = slowly
    with serve("127.0.0.1:0", leaf) as target:
        yield target


def test_a_terminal_sees_how_far_they_are_once_they_take_two_seconds(slow: str) -> None:
    ended = client_on_terminal(*CALLS, "--target", slow)
    found = [int(number) for number in re.findall(r"calling 127\.0\.0\.1:\d+: (\d+) of 200 calls", ended.shown)]
    assert found, ended.shown
    assert found == sorted(found)
    assert found[0] > 30, "nothing is said before two seconds have passed"


@pytest.mark.full
def test_elsewhere_it_is_a_plain_line(slow: str) -> None:
    ended = client(*CALLS, "--target", slow)
    assert re.fullmatch(r"calling 127\.0\.0\.1:\d+: \d+ of 200 calls …\n", ended.err), ended.err
    assert "calling" not in ended.out


def test_failures_that_differ_in_ids_alone_are_one_line_with_their_number() -> None:
    leaf, number = Leaf(), itertools.count()

    def every_fourth(_: Any, context: grpc.ServicerContext) -> bytes:
        if (place := next(number)) % 4 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"request {place} was refused")
        return answer(0).SerializeToString()

    leaf.talk = every_fourth
    with serve("127.0.0.1:0", leaf) as target:
        ended = client("call", "--rpc", "Talk", "--repeat", "40", "--target", target)
    assert ended.code == 1
    lines = [line for line in ended.out.splitlines() if "[call-failed]" in line]
    said = "  10 of 40: UNAVAILABLE: request 0 was refused, and others like it, see --json [call-failed]"
    assert lines == [said], ended.out


def test_failures_that_do_not_differ_need_no_json() -> None:
    leaf = Leaf()

    def refuse(_: Any, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "refused")

    leaf.talk = refuse
    with serve("127.0.0.1:0", leaf) as target:
        ended = client("call", "--rpc", "Talk", "--repeat", "5", "--target", target)
    assert "  UNAVAILABLE: refused [call-failed]" in ended.out.splitlines()
