"""What hostile or broken senders may take of the store: bytes over all bodies, time, connections."""

import asyncio
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any

import grpc
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from grpc_tracing.calling import targets
from grpc_tracing.store import bodies, connections
from grpc_tracing.store.calls import MOST_CALLS, Call, CallLog, parse_calls
from grpc_tracing.store.live import Changes
from tests.store.calls import new_id, talk_parts
from tests.store.support import EXPORT, Store, export_request, running_store
from tests.support.waiting import wait_for

MIB = 1024**2
JSON = {"content-type": "application/json"}
PROTOBUF = "application/x-protobuf"
HEAD = (
    b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
)


def connected(address: str) -> socket.socket:
    host, port = targets.split_host_port(address, lowest=1)
    return socket.create_connection((host, port), timeout=30)


def unfinished(address: str, size: int) -> socket.socket:
    """Sends the first half of a body of `size` bytes, as far as the store takes it."""
    connection = connected(address)
    with suppress(OSError):  # refused in the middle
        connection.sendall(HEAD % size + bytes(size // 2))
    return connection


def status(connection: socket.socket) -> str:
    """Of the answer; empty where the connection is closed without one."""
    return connection.recv(64).partition(b" ")[2][:3].decode()


def take_small(store: Store) -> None:
    trace_id = new_id(16)
    store.export(export_request(trace_id, talk_parts()))
    assert len(store.spans(trace_id)) == 7


def test_250_unfinished_bodies_of_8_mib_take_little_and_keep_no_small_one_out() -> None:
    with running_store() as store, ExitStack() as stack, ThreadPoolExecutor(16) as pool:
        take_small(store)
        before = store.memory()
        opened = list(pool.map(lambda _: unfinished(store.otlp_http, 8 * MIB), range(250)))
        for connection in opened:
            stack.callback(connection.close)
        grown = store.memory() - before
        take_small(store)
    assert grown < 200 * MIB, f"grew by {grown / MIB:.0f} MiB"


def upload(size: int) -> Request:
    parts = [{"type": "http.request", "body": bytes(MIB // 2), "more_body": True}] * (size * 2 // MIB)

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.request", "body": b"", "more_body": False}

    return Request({"type": "http", "headers": []}, receive)


async def test_a_body_that_finds_no_room_is_told_to_come_again_and_a_small_one_finds_some() -> None:
    ours = bodies.Bodies()
    async with AsyncExitStack() as stack:
        for _ in range(8):
            assert len(await stack.enter_async_context(ours.read(upload(8 * MIB)))) == 8 * MIB
        with pytest.raises(bodies.RefusedError) as refused:
            await stack.enter_async_context(ours.read(upload(8 * MIB)))
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        assert await stack.enter_async_context(ours.read(upload(0))) == b""
    assert ours.held == 0
    async with ours.read(upload(8 * MIB)) as body:
        assert len(body) == 8 * MIB


@pytest.mark.full
def test_idle_connections_half_heads_and_half_bodies_end_after_ten_seconds() -> None:
    with running_store() as store, ExitStack() as stack:
        silent, half_head = connected(store.http), connected(store.http)
        half_head.sendall(b"GET / HTT")
        again = connected(store.http)
        again.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HT")
        half_body = unfinished(store.otlp_http, 1000)
        for one in (silent, half_head, again, half_body):
            stack.callback(one.close)
        begun = time.monotonic()
        assert status(again) == "200"
        assert status(half_body) == "408"
        while again.recv(65536):
            pass
        assert [silent.recv(1), half_head.recv(1)] == [b"", b""]
        assert time.monotonic() - begun < 2 * max(bodies.WITHIN, connections.HEAD_WITHIN) + 5


@pytest.mark.full
def test_a_grpc_call_that_never_sends_its_message_ends_too() -> None:
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(60)
        yield from ()

    with running_store() as store, grpc.insecure_channel(store.otlp_grpc, [("grpc.enable_http_proxy", 0)]) as channel:
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
        with pytest.raises(grpc.RpcError) as caught:
            call(nothing(), timeout=50)
        never.set()
    failed: Any = caught.value
    assert (failed.code(), "did not come within" in str(failed.details())) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def test_idle_connections_beyond_the_bound_make_room_for_those_that_ask() -> None:
    with running_store() as store, ExitStack() as stack:
        for _ in range(connections.MOST_CONNECTIONS + 50):
            stack.callback(connected(store.http).close)
        assert store.health()["status"] == "serving"
        assert store.get("/traces").status_code == 200
        assert store.get("/healthz").status_code == 200


def test_with_all_requests_taken_health_answers_still() -> None:
    with running_store() as store, ExitStack() as stack:
        head = HEAD.replace(b"/v1/traces", b"/api/calls").replace(b"x-protobuf", b"json") % 10
        for _ in range(connections.MOST_CONNECTIONS):
            one = connected(store.http)
            stack.callback(one.close)
            one.sendall(head)
        wait_for(lambda: store.get("/traces").status_code == 503, "every request is taken", timeout=bodies.WITHIN)
        assert store.health()["status"] == "serving"


async def test_no_more_pages_listen_than_a_hundred_and_one_that_closes_makes_room() -> None:
    changes, asked = Changes(), Request({"type": "http"})
    streams = [await changes.stream(asked) for _ in range(100)]
    listening = [one.body_iterator for one in streams if isinstance(one, StreamingResponse)]
    assert [await anext(aiter(one)) for one in listening] == ["retry: 1000\n\n"] * 100
    assert (await changes.stream(asked)).status_code == 503
    closing: Any = listening[0]
    await closing.aclose()
    assert (await changes.stream(asked)).status_code == 200


@contextmanager
def asked_meanwhile(ask: Callable[[], object]) -> Iterator[list[float]]:
    """Asks again and again until the block ends: how long each took, in seconds."""
    took: list[float] = []
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            begun = time.monotonic()
            ask()
            took.append(time.monotonic() - begun)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join()


def test_ten_thousand_calls_are_taken_and_a_hundred_thousand_refused_while_others_are_served() -> None:
    one = {"verdict": "connected", "trace_ids": [new_id(16)]}
    with running_store() as store:
        url = f"http://{store.http}/api/calls"
        with asked_meanwhile(store.health) as took:
            begun = time.monotonic()
            most = store.client.post(url, content=json.dumps([one] * MOST_CALLS), headers=JSON)
            more = store.client.post(url, content=json.dumps([one] * 100_000), headers=JSON)
            lasted = time.monotonic() - begun
        assert (most.status_code, more.status_code) == (202, 400)
        assert "100,000 calls are too many at once; send at most 10,000" in more.json()["error"]
        assert store.health()["calls"]["count"] == MOST_CALLS
    assert lasted < 10
    assert statistics.median(took) < 1


def test_calls_are_taken_in_and_dropped_in_a_time_that_grows_with_their_number_alone() -> None:
    def seconds(count: int) -> float:
        calls = (Call("", (), "", "connected", (), ()),) * count
        log = CallLog(1000, 2**40)
        begun = time.process_time()
        log.add(calls, count)
        return time.process_time() - begun

    assert seconds(400_000) < 5


def test_a_long_body_is_read_apart_from_the_event_loop() -> None:
    from grpc_tracing.store.calls import read_calls

    body = json.dumps([{"verdict": "connected"}] * MOST_CALLS).encode()

    async def turns_meanwhile() -> int:
        turns, reading = 0, asyncio.ensure_future(read_calls(body))
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(reading.result()) == len(parse_calls(body))
        return turns

    assert asyncio.run(turns_meanwhile()) > 2
