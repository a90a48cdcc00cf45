"""The guide's hops in Python under auto-instrumentation, which wraps each call that they take and make."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from scripts.examples import PYTHON, Command, python
from tests.docs.hops import hop, running
from tests.docs.patterns import Pattern, answering, doing, in_each_pattern
from tests.support.leaf import Leaf, serve
from tests.support.stub import Stub, connect
from tests.support.uploads import CutUploads, OneHop
from tests.support.wire import free_address, wire_leaf
from tests.talk.instrumented import NEEDS, PARENT, SENT, TOOLS, TRACE

pytestmark = NEEDS

BY_SDK = {
    "opentelemetry-instrument": "traceparent,tracestate,baggage",
    "ddtrace-run": ",".join(key for key, _ in SENT if key != "x-lane"),
}
"""What each tool writes on calls itself; the examples with the library need not be told."""
CALLS = 20


@dataclass(frozen=True)
class InstrumentedHop:
    target: str
    leaf: Leaf


@pytest.fixture(scope="module", params=[(tool, kind) for tool in TOOLS for kind in PYTHON], ids=" ".join)
def command(request: pytest.FixtureRequest, instrumented: Path) -> Command:
    tool, kind = request.param
    settings = [f"{name}={value}" for name, value in {**TOOLS[tool], "TALK_BY_SDK": BY_SDK[tool]}.items()]
    return python(kind, "env", *settings, instrumented / "bin" / tool, instrumented / "bin" / "python")


@pytest.fixture(scope="module")
def _hop(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstrumentedHop]:
    folder = tmp_path_factory.mktemp("hop")
    leaf = Leaf()
    with (
        serve(f"unix:{folder}/leaf", leaf) as last,
        hop(command, f"unix:{folder}/hop", last, folder / "log") as target,
    ):
        yield InstrumentedHop(target, leaf)
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture
def leaf(_hop: InstrumentedHop) -> Leaf:
    _hop.leaf.reset()
    answering(_hop.leaf)
    return _hop.leaf


@pytest.fixture
def stub(_hop: InstrumentedHop) -> Iterator[Stub]:
    with connect(_hop.target) as stub:
        yield stub


@in_each_pattern
def test_each_trace_header_arrives_once_with_the_span_in_between(leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    ended = pattern.call(stub, metadata=SENT, timeout=20)
    assert ended.code() == grpc.StatusCode.OK, ended.details()
    arrived = [key for key, _ in leaf.metadata]
    assert {key: arrived.count(key) for key, _ in SENT} == dict.fromkeys(dict(SENT), 1)
    found = {key: str(value) for key, value in leaf.metadata}
    _, trace, parent, _ = found["traceparent"].split("-")
    assert trace == TRACE
    assert parent != PARENT, "the hop's own span stands between"
    assert (found["baggage"], found["x-lane"]) == ("userId=alice", "canary")


@in_each_pattern
def test_the_last_hops_status_and_trailers_come_back(leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    def refuse(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("x-note", "1"), ("note-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")

    doing(leaf, refuse)
    ended = pattern.call(stub, timeout=20)
    assert (ended.code(), ended.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
    assert {("x-note", "1"), ("note-bin", b"\x00\xff")} <= {(key, value) for key, value in ended.trailing_metadata()}


@in_each_pattern
def test_a_caller_that_cancels_ends_every_hop(leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    reached = threading.Event()

    def hang(_: grpc.ServicerContext) -> None:
        reached.set()
        leaf.cancelled.wait(60)

    doing(leaf, hang)
    call = pattern.begin(stub)
    assert reached.wait(20)
    call.cancel()
    assert leaf.cancelled.wait(10)


@in_each_pattern
def test_the_remaining_time_goes_on(leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    assert pattern.call(stub, timeout=20).code() == grpc.StatusCode.OK
    assert leaf.remaining is not None
    assert 10 < leaf.remaining < 21


@in_each_pattern
def test_no_deadline_goes_on_as_none(leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    assert pattern.call(stub).code() == grpc.StatusCode.OK
    assert leaf.remaining is None or leaf.remaining > 1e9


@pytest.mark.long
class TestCutUploads(CutUploads):
    deadline = "2S"

    @pytest.fixture
    def hop(self, command: Command, tmp_path: Path) -> Iterator[OneHop]:
        listen = free_address()
        with wire_leaf() as (address, leaf), running(command, listen, address, tmp_path / "log") as process:
            yield OneHop(process, listen, leaf, CALLS)
