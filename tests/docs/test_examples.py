"""The guide's hops, two of a kind in front of a last hop of the test's own: what each must carry, in each pattern."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from scripts.examples import GETTING
from tests.docs.conftest import Example
from tests.docs.hops import hop
from tests.docs.patterns import ANSWER, ASK, Pattern, answering, doing, in_each_pattern
from tests.support.leaf import Leaf, serve
from tests.support.stub import Metadata, Stub, connect

SENT: Metadata = [
    ("baggage", "userId=alice"),
    ("tracestate", "rojo=00f067aa0ba902b7"),
    ("baggage", "isProduction=false;p=1"),
    ("tracestate", "congo=t61rcWkgMzE"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-parentspanid", "00f067aa0ba902b6"),
    ("x-b3-sampled", "1"),
    ("x-b3-flags", "1"),
    ("x-request-id", "0f2e1c7e-4a52-4d6e-9d3e-8f6f0a5c6b1d"),
    ("x-client-trace-id", "7"),
    ("x-ot-span-context", "8"),
    ("sw8", "1-TVkuVFJBQ0U=-TVkuU0VHTUVOVA==-3-c3Zj-aW5z-ZW5k-cGVlcg=="),
    ("sw8-correlation", "a2V5:dmFsdWU="),
    ("sw8-x", "0-"),
    ("x-datadog-trace-id", "11803532876627986230"),
    ("x-datadog-parent-id", "67667974448284343"),
    ("x-datadog-sampling-priority", "1"),
    ("x-datadog-origin", "rum"),
    ("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6"),
    ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1;o=1"),
    ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
    ("uber-trace-id", "4bf92f3577b34da6:00f067aa0ba902b7:0:1"),
    ("uberctx-user", "alice"),
    ("x-asm-prefer-tag", "version1"),
    ("x-lane", "canary"),
    ("end-user", "jason"),
    ("tenant-bin", b"\x00\xff\x80"),
    ("tenant-bin", b"second"),
]
NOT_SENT_ON: Metadata = [("authorization", "Bearer secret"), ("cookie", "session=secret"), ("x-private", "secret")]

pytestmark = pytest.mark.timeout(2 * GETTING)


@dataclass(frozen=True)
class TwoHops:
    example: Example
    leaf: Leaf
    target: str


@pytest.fixture(scope="module")
def _two_hops(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHops]:
    folder: Path = tmp_path_factory.mktemp("hops")
    sockets = {name: f"unix:{folder}/{name}" for name in ("1", "2", "leaf")}
    leaf = Leaf()
    with (
        serve(sockets["leaf"], leaf),
        hop(example.command, sockets["2"], sockets["leaf"], folder / "2.log"),
        hop(example.command, sockets["1"], sockets["2"], folder / "1.log"),
    ):
        yield TwoHops(example, leaf, sockets["1"])
    assert "Traceback" not in (folder / "1.log").read_text() + (folder / "2.log").read_text()


@pytest.fixture
def hops(_two_hops: TwoHops) -> TwoHops:
    _two_hops.leaf.reset()
    answering(_two_hops.leaf)
    return _two_hops


@pytest.fixture
def stub(hops: TwoHops) -> Iterator[Stub]:
    with connect(hops.target) as stub:
        yield stub


def by_key(metadata: Metadata, *, folded: bool) -> dict[str, list[str | bytes]]:
    """Values by key, in order: what the order of keys means is nothing."""
    values = {key: [value for other, value in metadata if other == key] for key, _ in metadata}
    if not folded:
        return values
    return {key: [", ".join(map(str, found))] if isinstance(found[0], str) else found for key, found in values.items()}


@in_each_pattern
def test_every_header_of_every_family_arrives_with_its_duplicates(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    ended = pattern.call(stub, metadata=SENT + NOT_SENT_ON, timeout=20)
    assert ended.code() == grpc.StatusCode.OK, ended.details()
    arrived, expected = by_key(hops.leaf.metadata, folded=False), by_key(SENT, folded=hops.example.joins_duplicates)
    assert {key: arrived.get(key) for key in expected} == expected
    assert not {key for key, _ in NOT_SENT_ON} & arrived.keys()


@in_each_pattern
def test_b3_alone_goes_on_and_beside_the_multiple_headers_stays_behind(
    hops: TwoHops, stub: Stub, pattern: Pattern
) -> None:
    single = ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")
    assert pattern.call(stub, metadata=[single], timeout=20).code() == grpc.StatusCode.OK
    assert single in hops.leaf.metadata
    assert pattern.call(stub, metadata=[single, *SENT], timeout=20).code() == grpc.StatusCode.OK
    assert single not in hops.leaf.metadata


@in_each_pattern
def test_the_remaining_time_goes_on(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    assert pattern.call(stub, timeout=20).code() == grpc.StatusCode.OK
    assert hops.leaf.remaining is not None
    assert 10 < hops.leaf.remaining < 21


@in_each_pattern
def test_no_deadline_goes_on_as_none(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    assert pattern.call(stub).code() == grpc.StatusCode.OK
    assert hops.leaf.remaining is None or hops.leaf.remaining > 1e9


@in_each_pattern
def test_a_caller_that_cancels_ends_every_hop(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    reached = threading.Event()

    def hang(_: grpc.ServicerContext) -> None:
        reached.set()
        hops.leaf.cancelled.wait(60)

    doing(hops.leaf, hang)
    call = pattern.begin(stub)
    assert reached.wait(20)
    call.cancel()
    assert hops.leaf.cancelled.wait(10)


def test_a_caller_that_leaves_in_the_middle_of_a_stream_ends_it_at_the_last_hop(hops: TwoHops, stub: Stub) -> None:
    hops.leaf.talk_one_answer_more = lambda *_: itertools.repeat(ANSWER)
    call = stub.talk_one_answer_more(ASK)
    next(call)
    call.cancel()
    assert hops.leaf.cancelled.wait(10)


@in_each_pattern
def test_the_last_hops_status_and_trailers_come_back(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    def refuse(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("x-note", "1"), ("note-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")

    doing(hops.leaf, refuse)
    ended = pattern.call(stub, timeout=20)
    assert (ended.code(), ended.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
    assert {("x-note", "1"), ("note-bin", b"\x00\xff")} <= {(key, value) for key, value in ended.trailing_metadata()}


@in_each_pattern
def test_trailers_come_back_with_an_answer_too(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    doing(hops.leaf, lambda context: context.set_trailing_metadata((("x-note", "1"), ("note-bin", b"\x00\xff"))))
    ended = pattern.call(stub, timeout=20)
    assert ended.code() == grpc.StatusCode.OK, ended.details()
    assert {("x-note", "1"), ("note-bin", b"\x00\xff")} <= {(key, value) for key, value in ended.trailing_metadata()}
