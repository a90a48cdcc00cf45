"""svc1 and svc2 under auto-instrumentation, which wraps each call that they take and make: all four patterns."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from chain.greetings import GREETINGS
from protos import hop_pb2, landing_pb2
from tests.support.leaf import Leaf, serve
from tests.support.processes import service
from tests.support.stub import Stub, ask, connect, path, records
from tests.talk.instrumented import NEEDS, SENT, TOOLS, TRACE, Tool

pytestmark = NEEDS

THREE = ("0", "1", "2")
REFUSED_FIRST = ("x", "1", "2")
TIMES = 5
"""Of each call whose status may come while requests are still being sent."""

Pattern = Callable[..., tuple[Any, list[bytes]]]
"""Makes one call with a request for each text; the finished call or error, and its answers."""


def unary_unary(stub: Stub, data: tuple[str, ...], **options: Any) -> tuple[Any, list[bytes]]:
    answer, call = stub.talk.with_call(ask(data[0]), **options)
    return call, [answer]


def unary_stream(stub: Stub, data: tuple[str, ...], **options: Any) -> tuple[Any, list[bytes]]:
    call = stub.talk_one_answer_more(ask(",".join(data)), **options)
    return call, list(call)


def stream_unary(stub: Stub, data: tuple[str, ...], **options: Any) -> tuple[Any, list[bytes]]:
    answer, call = stub.talk_more_answer_one.with_call(map(ask, data), **options)
    return call, [answer]


def stream_stream(stub: Stub, data: tuple[str, ...], **options: Any) -> tuple[Any, list[bytes]]:
    call = stub.talk_bidirectional(map(ask, data), **options)
    return call, list(call)


ANSWERED: dict[Pattern, tuple[str, ...]] = {
    unary_unary: THREE[:1],
    unary_stream: THREE,
    stream_unary: THREE,
    stream_stream: THREE,
}
in_each_pattern = pytest.mark.parametrize("pattern", ANSWERED, ids=lambda pattern: pattern.__name__)


def error(pattern: Pattern, stub: Stub, data: tuple[str, ...] = THREE) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        pattern(stub, data, timeout=20)
    return raised.value


@pytest.fixture(scope="module", params=TOOLS)
def tool(request: pytest.FixtureRequest, instrumented: Path) -> Tool:
    return Tool(request.param, instrumented)


@contextmanager
def chain(tool: Tool, folder: Path, last: str) -> Iterator[Stub]:
    with tool.chain(folder, last) as (svc1, svc2):
        assert svc2.addresses
        with connect(svc1.addresses[0]) as stub:
            yield stub


@pytest.fixture(scope="module")
def stub(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    """svc1 -> svc2 -> svc3."""
    folder = tmp_path_factory.mktemp("chain")
    last = f"unix:{folder}/svc3"
    with service("svc3", folder / "svc3.log", listen=last) as svc3, chain(tool, folder, last) as stub:
        assert svc3.addresses
        yield stub


@pytest.fixture(scope="module")
def _before_leaf(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stub, Leaf]]:
    folder = tmp_path_factory.mktemp("leaf")
    leaf = Leaf()
    with serve(f"unix:{folder}/leaf", leaf) as last, chain(tool, folder, last) as stub:
        yield stub, leaf


@pytest.fixture
def before_leaf(_before_leaf: tuple[Stub, Leaf]) -> tuple[Stub, Leaf]:
    """svc1 -> svc2 -> a last hop of the test's own."""
    _before_leaf[1].reset()
    return _before_leaf


def greeted(answers: list[bytes]) -> list[str]:
    results = [result for answer in answers for result in landing_pb2.TalkResponse.FromString(answer).results]
    return [result.kv["data"] for result in results]


def received(record: hop_pb2.Hop, key: str) -> list[str]:
    return [header.value.decode() for header in record.headers if header.key == key]


@in_each_pattern
def test_the_answers_are_those_of_the_last_hop(stub: Stub, pattern: Pattern) -> None:
    call, answers = pattern(stub, THREE, metadata=SENT, timeout=20)
    assert (call.code(), path(call)) == (grpc.StatusCode.OK, ["svc1", "svc2", "svc3"])
    assert greeted(answers) == [GREETINGS[index] for index in ANSWERED[pattern]]


@in_each_pattern
def test_each_hop_receives_one_traceparent_of_the_span_before_it(stub: Stub, pattern: Pattern) -> None:
    call, _ = pattern(stub, THREE, metadata=SENT, timeout=20)
    parents = []
    for record in records(call):
        (traceparent,) = received(record, "traceparent")
        _, trace, parent, _ = traceparent.split("-")
        assert trace == TRACE
        parents.append(parent)
    assert len(set(parents)) == 3, "svc1's and svc2's own spans stand between"


@in_each_pattern
def test_no_trace_header_is_doubled_and_none_is_lost(stub: Stub, pattern: Pattern) -> None:
    call, _ = pattern(stub, THREE, metadata=SENT, timeout=20)
    for record in records(call):
        assert {key: len(received(record, key)) for key, _ in SENT} == dict.fromkeys(dict(SENT), 1)
        assert received(record, "x-lane") == ["canary"]


@in_each_pattern
def test_an_early_refusal_keeps_its_status(stub: Stub, pattern: Pattern) -> None:
    for _ in range(TIMES):
        refused = error(pattern, stub, REFUSED_FIRST)
        assert (refused.code(), path(refused)) == (grpc.StatusCode.INVALID_ARGUMENT, ["svc1", "svc2", "svc3"])


@in_each_pattern
def test_a_status_that_comes_while_requests_are_sent_goes_back(
    before_leaf: tuple[Stub, Leaf], pattern: Pattern
) -> None:
    stub, leaf = before_leaf

    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("x-reason", "quota"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    leaf.talk = leaf.talk_one_answer_more = leaf.talk_more_answer_one = leaf.talk_bidirectional = refuse
    for _ in range(TIMES):
        refused = error(pattern, stub, THREE * 100)
        assert (refused.code(), refused.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "svc2 -> svc3: enough")
        assert ("x-reason", "quota") in refused.trailing_metadata()


@in_each_pattern
def test_a_caller_that_cancels_ends_every_hop(before_leaf: tuple[Stub, Leaf], pattern: Pattern) -> None:
    stub, leaf = before_leaf
    reached = threading.Event()

    def hang(_: Any, __: grpc.ServicerContext) -> bytes:
        reached.set()
        leaf.cancelled.wait(60)
        return b""

    leaf.talk = leaf.talk_more_answer_one = hang
    leaf.talk_one_answer_more = leaf.talk_bidirectional = lambda request, context: iter([hang(request, context)])
    begun: dict[Pattern, Callable[[], Any]] = {
        unary_unary: lambda: stub.talk.future(ask("0")),
        unary_stream: lambda: stub.talk_one_answer_more(ask("0")),
        stream_unary: lambda: stub.talk_more_answer_one.future(map(ask, THREE)),
        stream_stream: lambda: stub.talk_bidirectional(map(ask, THREE)),
    }
    call = begun[pattern]()
    assert reached.wait(20)
    call.cancel()
    assert leaf.cancelled.wait(10)


@in_each_pattern
def test_the_deadline_goes_on(before_leaf: tuple[Stub, Leaf], pattern: Pattern) -> None:
    stub, leaf = before_leaf
    pattern(stub, THREE, timeout=20)
    assert leaf.remaining is not None
    assert 10 < leaf.remaining < 21
