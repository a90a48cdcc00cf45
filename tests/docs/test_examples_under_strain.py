"""The guide's hops with odd bytes, slow readers, and many calls at once."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from scripts.examples import GETTING
from talk.relay import SERVICES
from tests.docs.conftest import Example
from tests.docs.hops import hop
from tests.docs.patterns import ANSWER, ASK, PATTERNS, Pattern, answering, doing, in_each_pattern
from tests.support.leaf import Leaf, serve
from tests.support.stub import Stub, ask, connect
from tests.support.waiting import wait_for
from tests.support.wire import WireCaller, free_address, wire_leaf

pytestmark = pytest.mark.timeout(2 * GETTING)

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNKNOWN_FIELD = b"\xfa\x3e\x03abc"
"""Field 1007, which no version of the contract has."""
LARGE = b"\xfa\x3e\x80\x80\x04" + bytes(65_536)
"""The same field with 64 KiB, a message in either direction."""
BUFFERED = 24 * 1024 * 1024
"""Bytes that may be under way to a reader that has stopped: windows and buffers of two connections."""
FIXED_WINDOW = {"http2.bdp_probe": 0}
"""For both ends of the test's own, which would else ask for more with each slow answer to their probes: what is
counted is what the hop lets in."""


@pytest.fixture
def leaf() -> Leaf:
    one = Leaf()
    answering(one)
    return one


@pytest.fixture
def target(example: Example, leaf: Leaf, tmp_path: Path) -> Iterator[str]:
    listen, last = free_address(), f"unix:{tmp_path}/leaf"
    with serve(last, leaf, **FIXED_WINDOW), hop(example.command, listen, last, tmp_path / "hop.log"):
        yield listen


@pytest.fixture
def stub(target: str) -> Iterator[Stub]:
    with connect(target, SERVICES[0], **FIXED_WINDOW) as stub:
        yield stub


@pytest.mark.parametrize("rpc", ["Talk", "TalkMoreAnswerOne"])
def test_a_header_that_is_no_ascii_passes_or_stays_behind_alone(example: Example, tmp_path: Path, rpc: str) -> None:
    listen = free_address()
    with wire_leaf() as (address, leaf), hop(example.command, listen, address, tmp_path / "hop.log"):
        caller = WireCaller(listen)
        stream = caller.begin(rpc, more=[("traceparent", TRACEPARENT), ("baggage", "name=Zo\u00eb".encode())])
        caller.half_close(stream)
        wait_for(lambda: leaf.began, "the call arrives")
        caller.vanish()
    assert [value for name, value in leaf.headers if name == b"traceparent"] == [TRACEPARENT.encode()]
    assert {value for name, value in leaf.headers if name == b"baggage"} <= {"name=Zo\u00eb".encode()}


def test_fields_that_a_hop_does_not_know_pass(leaf: Leaf, stub: Stub) -> None:
    leaf.talk = lambda request, _: request
    assert stub.talk(UNKNOWN_FIELD, timeout=20) == UNKNOWN_FIELD


def test_three_values_of_one_key_arrive_in_order(example: Example, leaf: Leaf, stub: Stub) -> None:
    stub.talk(ASK, metadata=[("traceparent", TRACEPARENT), *(("baggage", f"k{n}={n}") for n in range(3))], timeout=20)
    values = [value for key, value in leaf.metadata if key == "baggage"]
    assert values == (["k0=0, k1=1, k2=2"] if example.joins_duplicates else ["k0=0", "k1=1", "k2=2"])
    assert [value for key, value in leaf.metadata if key == "traceparent"] == [TRACEPARENT]


@in_each_pattern
def test_the_date_of_another_answer_is_no_trailer(example: Example, leaf: Leaf, stub: Stub, pattern: Pattern) -> None:
    if example.kind != "node":
        pytest.skip("only Node's servers put a date where gRPC reads trailers")
    doing(leaf, lambda context: context.set_trailing_metadata((("date", "the last hop's"), ("x-note", "1"))))
    ended = pattern.call(stub, timeout=20)
    assert ended.code() == grpc.StatusCode.OK
    assert {key for key, _ in ended.trailing_metadata()} == {"x-note"}


def test_an_oversized_message_leaves_the_other_calls_of_its_connection_alone(stub: Stub) -> None:
    goes_on = threading.Event()

    def two_requests() -> Iterator[bytes]:
        yield ASK
        goes_on.wait(20)
        yield ASK

    other = stub.talk_bidirectional(two_requests(), timeout=30)
    try:
        assert next(other) == ANSWER
        for _ in range(5):
            cut = stub.talk_bidirectional(iter([ASK, ask("0" * (5 * 1024 * 1024))]), timeout=20)
            with pytest.raises(grpc.RpcError):
                list(cut)
            assert cut.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
    finally:
        goes_on.set()
    assert list(other) == [ANSWER]


def test_a_caller_that_stops_reading_stops_the_last_hop(leaf: Leaf, stub: Stub) -> None:
    sent = itertools.count()
    leaf.talk_one_answer_more = lambda *_: (LARGE for _ in sent)
    call = stub.talk_one_answer_more(ASK)
    assert next(call) == LARGE
    try:
        at_rest = _at_rest(sent)
    finally:
        call.cancel()
    assert at_rest * len(LARGE) < BUFFERED


def test_a_last_hop_that_stops_reading_stops_the_caller(leaf: Leaf, stub: Stub) -> None:
    done, sent = threading.Event(), itertools.count()

    def answer(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        yield next(requests)
        done.wait(30)

    leaf.talk_bidirectional = answer
    call = stub.talk_bidirectional(LARGE for _ in sent)
    assert next(call) == LARGE
    try:
        at_rest = _at_rest(sent)
    finally:
        done.set()
        call.cancel()
    assert at_rest * len(LARGE) < BUFFERED


def _at_rest(sent: "itertools.count[int]") -> int:
    """How many were sent once no more are for a while, or far too many."""
    seen, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal seen, since
        count = _value(sent)
        if count != seen:
            seen, since = count, time.monotonic()
        return time.monotonic() - since > 1.0 or count * len(LARGE) > 4 * BUFFERED

    wait_for(still, "the sender waits", timeout=20)
    return seen


def _value(count: "itertools.count[int]") -> int:
    return int(repr(count).removeprefix("count(").removesuffix(")"))


def test_a_thousand_calls_at_concurrency_32_end_well(stub: Stub) -> None:
    patterns = itertools.islice(itertools.cycle(PATTERNS), 1000)
    with ThreadPoolExecutor(32) as pool:
        codes = list(pool.map(lambda pattern: pattern.call(stub, timeout=60).code(), patterns))
    assert codes == [grpc.StatusCode.OK] * 1000


def test_a_hop_listens_on_its_host_alone(target: str) -> None:
    port = int(target.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
