"""What a hop must carry, in all four patterns: svc1 and svc2 as processes, a last hop of the test's own."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from talk.relay import SERVICES
from tests.support.leaf import Leaf, serve
from tests.support.processes import service
from tests.support.stub import Metadata, Stub, ask, connect, path, records
from tests.support.waiting import wait_for
from tests.talk.conftest import TwoHops
from tests.talk.raw_hop import raw_hop

ASK = ask("0")

Pattern = Callable[..., Any]
"""Makes one call to its end with `metadata` and `timeout`, and gives the finished call or error."""


def unary_unary(stub: Stub, **options: Any) -> Any:
    return _ended(lambda: stub.talk.with_call(ASK, **options)[1])


def unary_stream(stub: Stub, **options: Any) -> Any:
    return _ended(lambda: _read(stub.talk_one_answer_more(ASK, **options)))


def stream_unary(stub: Stub, **options: Any) -> Any:
    return _ended(lambda: stub.talk_more_answer_one.with_call(iter([ASK]), **options)[1])


def stream_stream(stub: Stub, **options: Any) -> Any:
    return _ended(lambda: _read(stub.talk_bidirectional(iter([ASK]), **options)))


def _read(call: Any) -> Any:
    for _ in call:
        pass
    return call


def _ended(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except grpc.RpcError as error:
        return error


PATTERNS = [unary_unary, unary_stream, stream_unary, stream_stream]
in_each_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)

TRACE_HEADERS: Metadata = [
    ("baggage", "userId=alice"),
    ("tracestate", "rojo=00f067aa0ba902b7"),
    ("baggage", "isProduction=false;p=1"),
    ("tracestate", "congo=t61rcWkgMzE"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-request-id", "0f2e1c7e-4a52-4d6e-9d3e-8f6f0a5c6b1d"),
    ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-parentspanid", "00f067aa0ba902b6"),
    ("x-b3-sampled", "1"),
    ("x-b3-flags", "1"),
    ("sw8", "1-TVkuVFJBQ0U=-TVkuU0VHTUVOVA==-3-c3Zj-aW5z-ZW5k-cGVlcg=="),
    ("sw8-correlation", "a2V5:dmFsdWU="),
    ("x-datadog-trace-id", "11803532876627986230"),
    ("x-datadog-parent-id", "67667974448284343"),
    ("x-datadog-sampling-priority", "1"),
    ("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6"),
    ("x-lane", "canary"),
    ("x-tenant-name", "v" * 4096),
    ("secret-sauce-bin", bytes(range(256))),
]
CREDENTIALS: Metadata = [("authorization", "Bearer secret"), ("cookie", "session=secret"), ("x-private", "secret")]


def by_key(metadata: Metadata) -> dict[str, list[str | bytes]]:
    """Values by key, in order: between keys, gRPC's core moves the ones that it knows to the front."""
    return {key: [value for other, value in metadata if other == key] for key, _ in metadata}


@in_each_pattern
def test_trace_headers_reach_the_last_hop_byte_for_byte_and_in_order(
    hops: TwoHops, stub: Stub, pattern: Pattern
) -> None:
    assert pattern(stub, metadata=TRACE_HEADERS + CREDENTIALS, timeout=20).code() == grpc.StatusCode.OK
    arrived = by_key(hops.leaf.metadata)
    assert {key: arrived.get(key) for key in by_key(TRACE_HEADERS)} == by_key(TRACE_HEADERS)
    assert not {key for key, _ in CREDENTIALS} & arrived.keys()


@in_each_pattern
def test_the_remaining_time_goes_on(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    pattern(stub, timeout=20)
    assert hops.leaf.remaining is not None
    assert 10 < hops.leaf.remaining < 21, "gRPC rounds a timeout up, each time it is sent"


@in_each_pattern
def test_no_deadline_goes_on_as_none(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    assert pattern(stub).code() == grpc.StatusCode.OK
    # grpcio's sync API gives a far future in place of none.
    assert hops.leaf.remaining is not None
    assert hops.leaf.remaining > 1e9


def _block(hops: TwoHops) -> threading.Event:
    """Makes the leaf hang in every RPC until its call is cancelled; the event says that a call has reached it."""
    reached = threading.Event()

    def hang(_: Any, context: grpc.ServicerContext) -> bytes:
        reached.set()
        hops.leaf.cancelled.wait(60)
        return b""

    hops.leaf.talk = hops.leaf.talk_more_answer_one = hang
    hops.leaf.talk_one_answer_more = hops.leaf.talk_bidirectional = lambda request, context: iter(
        [hang(request, context)]
    )
    return reached


@in_each_pattern
def test_a_deadline_ends_every_hop_at_the_same_time(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    _block(hops)
    began = time.perf_counter()
    assert pattern(stub, timeout=0.3).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert hops.leaf.cancelled.wait(1.0)
    ended = time.perf_counter() - began
    assert 0.29 < ended < 1.3, f"the last hop was cancelled after {ended:.3f} s"


@in_each_pattern
def test_a_caller_that_cancels_ends_every_hop(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    reached = _block(hops)
    begun: list[Any] = [
        lambda: stub.talk.future(ASK),
        lambda: stub.talk_one_answer_more(ASK),
        lambda: stub.talk_more_answer_one.future(iter([ASK])),
        lambda: stub.talk_bidirectional(iter([ASK])),
    ]
    call = begun[PATTERNS.index(pattern)]()
    assert reached.wait(20)
    call.cancel()
    assert hops.leaf.cancelled.wait(10)


def test_hung_calls_do_not_hold_up_health(hops: TwoHops, stub: Stub) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    _block(hops)
    hung = [stub.talk.future(ASK, timeout=20) for _ in range(20)]
    health: Any = health_pb2_grpc.HealthStub(stub.channel)
    began = time.perf_counter()
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
    assert time.perf_counter() - began < 1.0
    for call in hung:
        call.cancel()


def test_half_close_goes_on_at_once_and_answers_keep_flowing(hops: TwoHops, stub: Stub) -> None:
    closed, more = threading.Event(), threading.Event()

    def answer(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for _request in requests:
            pass
        closed.set()
        yield b"1"
        assert more.wait(20)
        yield b"2"

    hops.leaf.talk_bidirectional = answer
    call = stub.talk_bidirectional(iter([ASK]), timeout=30)
    assert closed.wait(20)
    assert next(call) == b"1"
    more.set()
    assert next(call) == b"2"


def test_messages_go_on_one_by_one_while_both_sides_stay_open(hops: TwoHops, stub: Stub) -> None:
    requests: queue.Queue[bytes] = queue.Queue()
    call = stub.talk_bidirectional(iter(requests.get, b"end"), timeout=30)
    for number in range(5):
        requests.put(b"%d" % number)
        assert next(call) == b"%d" % number
    requests.put(b"end")
    assert list(call) == []


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.ABORTED])
def test_a_stream_that_the_last_hop_ends_early_keeps_its_status(
    hops: TwoHops, stub: Stub, code: grpc.StatusCode
) -> None:
    def end_early(_: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_code(code)
        yield b"1"

    hops.leaf.talk_bidirectional = end_early
    for _ in range(50):
        call = stub.talk_bidirectional((b"x" * 1000 for _ in range(1000)), timeout=30)
        assert _ended(partial(_read, call)).code() == code


def test_a_first_answer_goes_on_before_the_second_exists(hops: TwoHops, stub: Stub) -> None:
    second = threading.Event()

    def answer(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"1"
        assert second.wait(20)
        yield b"2"

    hops.leaf.talk_one_answer_more = answer
    call = stub.talk_one_answer_more(ASK, timeout=30)
    assert next(call) == b"1"
    second.set()
    assert list(call) == [b"2"]


def test_bytes_that_are_no_message_pass_undecoded(hops: TwoHops, stub: Stub) -> None:
    assert stub.talk(b"\xff\xfe no protobuf", timeout=20) == b"\xff\xfe no protobuf"


@in_each_pattern
def test_metadata_comes_back_from_the_last_hop(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    def adding(behave: Any) -> Any:
        def serve_it(request: Any, context: grpc.ServicerContext) -> Any:
            context.send_initial_metadata((("x-first", "1"), ("x-first", "2"), ("x-first-bin", b"\x00\xff")))
            context.set_trailing_metadata((("x-last", "3"), ("x-last", "4"), ("x-last-bin", b"\xff\x00")))
            return behave(request, context)

        return serve_it

    for name in ("talk", "talk_one_answer_more", "talk_more_answer_one", "talk_bidirectional"):
        setattr(hops.leaf, name, adding(getattr(hops.leaf, name)))
    call = pattern(stub, timeout=20)
    first, last = by_key(list(call.initial_metadata())), by_key(list(call.trailing_metadata()))
    assert (first["x-first"], first["x-first-bin"]) == (["1", "2"], [b"\x00\xff"])
    assert (last["x-last"], last["x-last-bin"]) == (["3", "4"], [b"\xff\x00"])


@in_each_pattern
def test_a_value_of_the_last_hops_that_grpc_would_not_send_stays_behind(tmp_path: Path, pattern: Pattern) -> None:
    with (
        raw_hop([(b"x-note", b"\xe4"), (b"x-mine", b"1")]) as leaf,
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=f"dns:///{leaf}") as svc2,
        connect(svc2.addresses[0]) as stub,
    ):
        call = pattern(stub, timeout=20)
        assert call.code() == grpc.StatusCode.OK, call.details()
        for metadata in (call.initial_metadata(), call.trailing_metadata()):
            assert {"x-note", "x-mine"} & by_key(list(metadata)).keys() == {"x-mine"}


def _refusing(leaf: Leaf, refuse: Any) -> None:
    """Makes the leaf end each call with what `refuse` does."""
    leaf.talk = leaf.talk_more_answer_one = refuse
    leaf.talk_one_answer_more = leaf.talk_bidirectional = lambda request, context: iter([refuse(request, context)])


@in_each_pattern
def test_metadata_from_before_an_error_comes_back(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata((("x-first", "1"),))
        context.abort(grpc.StatusCode.ABORTED, "no more")

    _refusing(hops.leaf, refuse)

    def came_back() -> bool:
        error = pattern(stub, timeout=20)
        assert error.code() == grpc.StatusCode.ABORTED
        return ("x-first", "1") in [tuple(pair) for pair in error.initial_metadata()]

    # Not each time: where a stream's end is there first, grpc.aio throws away what came before it.
    wait_for(came_back, "metadata from before the error", timeout=10)


def _details(message: str) -> bytes:
    status = status_pb2.Status(code=9, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BUSY"))
    return bytes(status.SerializeToString())


@in_each_pattern
@pytest.mark.parametrize(
    ("record", "message"),
    [([("talk-hop-bin", b"")], "not \u2713 now"), ([], "svc2 -> svc3: not \u2713 now")],
    ids=["a hop", "a proxy"],
)
def test_a_status_passes_unchanged_from_a_hop_and_names_the_edge_from_a_proxy(
    hops: TwoHops, stub: Stub, pattern: Pattern, record: Metadata, message: str
) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", _details("not \u2713 now")), *record))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u2713 now")

    _refusing(hops.leaf, refuse)
    error = pattern(stub, timeout=20)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == message
    # A reader of details refuses them where their message is another than the status's.
    assert ("grpc-status-details-bin", _details(message)) in [tuple(pair) for pair in error.trailing_metadata()]
    assert path(error)[:2] == ["svc1", "svc2"]
    assert {record.status for record in records(error)[:2]} == {grpc.StatusCode.FAILED_PRECONDITION.value[0]}


@pytest.mark.parametrize("pattern", [unary_stream, stream_stream])
def test_a_status_without_a_record_names_the_edge_after_an_answer_too(
    hops: TwoHops, stub: Stub, pattern: Pattern
) -> None:
    def answer_and_refuse(_: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no more")

    hops.leaf.talk_one_answer_more = hops.leaf.talk_bidirectional = answer_and_refuse
    error = pattern(stub, timeout=20)
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "svc2 -> svc3: no more")


@in_each_pattern
@pytest.mark.parametrize("name", SERVICES)
def test_a_call_goes_on_under_the_service_name_it_came_with(hops: TwoHops, pattern: Pattern, name: str) -> None:
    with connect(hops.target, name) as stub:
        call = pattern(stub, timeout=20)
    assert {record.rpc.split("/")[1] for record in records(call)} == {name}


def test_an_unknown_method_is_unimplemented(stub: Stub) -> None:
    for method in (f"/{SERVICES[0]}/talk", "/nobody.Service/Talk"):
        call: Any = stub.channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("setting", "code"), [("off", "OK"), ("on", "UNAVAILABLE")])
def test_a_proxy_of_the_environment_applies_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, code: str
) -> None:
    for variable in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for variable in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with (
        serve("127.0.0.1:0", Leaf()) as leaf,
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=f"dns:///{leaf}", http_proxy=setting) as svc2,
        connect(svc2.addresses[0]) as stub,
    ):
        assert unary_unary(stub, timeout=20).code().name == code


def test_a_next_hop_that_comes_back_is_found_again(tmp_path: Path) -> None:
    with (
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=f"unix:{tmp_path}/leaf") as svc2,
        connect(svc2.addresses[0]) as stub,
    ):
        error = unary_unary(stub, timeout=20)
        assert (error.code(), path(error)) == (grpc.StatusCode.UNAVAILABLE, ["svc2"])
        assert error.details().startswith("svc2 -> svc3: ")
        with serve(f"unix:{tmp_path}/leaf", Leaf()):
            wait_for(lambda: unary_unary(stub, timeout=20).code() == grpc.StatusCode.OK, "calls go through", timeout=10)


@in_each_pattern
def test_with_retry_on_a_unary_call_is_tried_again_and_a_stream_is_not(tmp_path: Path, pattern: Pattern) -> None:
    tries, leaf = itertools.count(1), Leaf()

    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        next(tries)
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    leaf.talk = leaf.talk_one_answer_more = leaf.talk_more_answer_one = leaf.talk_bidirectional = refuse
    with (
        serve(f"unix:{tmp_path}/leaf", leaf) as last,
        service("svc2", tmp_path / "log", listen="127.0.0.1:0", next_hop=last, retry="on") as svc2,
        connect(svc2.addresses[0]) as stub,
    ):
        assert pattern(stub, timeout=20).code() == grpc.StatusCode.UNAVAILABLE
    assert next(tries) - 1 == (3 if pattern is unary_unary else 1)


@in_each_pattern
def test_a_hops_own_time_is_told_without_that_of_later_hops(hops: TwoHops, stub: Stub, pattern: Pattern) -> None:
    waits = 0.3

    def one(request: Any, _: grpc.ServicerContext) -> bytes:
        threading.Event().wait(waits)
        return request if isinstance(request, bytes) else b"".join(request)

    hops.leaf.talk = hops.leaf.talk_more_answer_one = one
    hops.leaf.talk_one_answer_more = hops.leaf.talk_bidirectional = lambda request, context: [one(request, context)]
    for record in records(pattern(stub)):
        assert record.later_us >= waits * 1e6
        assert record.here_us < record.later_us
