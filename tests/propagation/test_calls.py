"""Headers go on while the call lasts, wherever its work runs, and nowhere else: in both APIs, without an SDK."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.families import Metadata
from grpc_tracing.propagation import aio, headers_of, lasting, outgoing, rule, serving, sync, wrap
from tests.propagation.hop import OPTIONS, PATTERNS
from tests.propagation.leaf import Leaf
from tests.support.server import grpc_server
from tests.support.waiting import wait_for

SENT: Metadata = (
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("baggage", "a=1"),
    ("x-request-id", "r"),
    ("baggage", "b=2"),
    ("x-lane-bin", b"\x00\xff"),
)
RULE = rule(also=("x-lane-bin",))
OTHER = tuple((key, f"other-{key}") for key in ("traceparent", "x-request-id"))


@contextmanager
def sync_server(handler: Any, pattern: str = "unary_unary", method: str = "go") -> Iterator[Any]:
    """A sync hop whose one method is `handler`; gives the method to call."""
    made = getattr(grpc, f"{pattern}_rpc_method_handler")(handler)
    handlers = grpc.method_handlers_generic_handler("hop", {method: made})
    with (
        grpc_server(handlers, threads=8, interceptors=sync.server_interceptors(), options=OPTIONS) as address,
        grpc.insecure_channel(address, options=OPTIONS) as channel,
    ):
        yield getattr(channel, pattern)("/hop/go")


@contextmanager
def sync_next(last: str) -> Iterator[Any]:
    with grpc.insecure_channel(last, options=OPTIONS) as plain:
        yield grpc.intercept_channel(plain, *sync.client_interceptors(RULE)).unary_unary("/leaf/go")


class AioHop:
    """A hop in grpc.aio whose one method is `handler`, and the calls that it makes."""

    def __init__(self, last: str) -> None:
        self._last = last

    async def __aenter__(self) -> AioHop:
        interceptors = aio.client_interceptors(RULE)
        self.channel = grpc.aio.insecure_channel(self._last, options=OPTIONS, interceptors=interceptors)
        self.next: Any = self.channel.unary_unary("/leaf/go")
        self.server = grpc.aio.server(ThreadPoolExecutor(4), interceptors=aio.server_interceptors(), options=OPTIONS)
        return self

    async def serve(self, handler: Any, pattern: str = "unary_unary") -> Any:
        made = getattr(grpc, f"{pattern}_rpc_method_handler")(handler)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hop", {"go": made}),))
        self.port = port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        self.caller = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        return getattr(self.caller, pattern)("/hop/go")

    async def __aexit__(self, *_: object) -> None:
        await self.caller.close()
        await self.server.stop(None)
        await self.channel.close()


def came(leaf: Leaf, first: bytes = b"x") -> Metadata:
    (metadata,) = leaf.metadata[first]
    return metadata


async def through_task(call: Any) -> None:
    await asyncio.create_task(call())


async def through_gather(call: Any) -> None:
    await asyncio.gather(call())


async def through_thread_and_loop(call: Any) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(call(), loop).result(10))


async def through_wrapped_executor(call: Any) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        blocking = wrap(pool)
        await loop.run_in_executor(blocking, lambda: asyncio.run_coroutine_threadsafe(call(), loop).result(10))


async def through_shield_and_timeout(call: Any) -> None:
    await asyncio.wait_for(asyncio.shield(call()), 10)


@pytest.mark.parametrize(
    "way", [through_task, through_gather, through_thread_and_loop, through_wrapped_executor, through_shield_and_timeout]
)
async def test_aio_work_of_a_call_carries_its_headers(leaf: Leaf, last: str, way: Callable[[Any], Any]) -> None:
    async with AioHop(last) as hop:

        async def handle(request: bytes, _: object) -> bytes:
            async def call() -> None:
                await hop.next(request)

            await way(call)
            return request

        go = await hop.serve(handle)
        await go(b"x", metadata=OrderedMetadata(SENT))
    assert came(leaf) == SENT


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_synchronous_handlers_of_an_aio_server_keep_the_headers(leaf: Leaf, last: str, pattern: str) -> None:
    with sync_next(last) as call:

        def one(request: Any, _: object) -> bytes:
            asked = request if isinstance(request, bytes) else next(iter(request))
            return bytes(call(asked))

        def many(request: Any, context: object) -> Iterator[bytes]:
            yield one(request, context)

        async with AioHop(last) as hop:
            go = await hop.serve(many if pattern.endswith("stream") else one, pattern)
            called = go(iter([b"x"]) if pattern.startswith("stream") else b"x", metadata=OrderedMetadata(SENT))
            assert [answer async for answer in called] if pattern.endswith("stream") else await called
    assert came(leaf) == SENT


def in_thread(job: Callable[[], None]) -> None:
    thread = threading.Thread(target=lasting().run, args=(job,))
    thread.start()
    thread.join()


def in_wrapped_pool(job: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        wrap(pool).submit(job).result(10)


def mapped_in_wrapped_pool(job: Callable[[], None]) -> None:
    with wrap(ThreadPoolExecutor(1)) as pool:
        list(pool.map(lambda _: job(), [0]))


@pytest.mark.parametrize("way", [lambda job: job(), in_thread, in_wrapped_pool, mapped_in_wrapped_pool])
def test_sync_work_of_a_call_carries_its_headers(leaf: Leaf, last: str, way: Callable[[Any], None]) -> None:
    with sync_next(last) as call:

        def handle(request: bytes, _: object) -> bytes:
            way(lambda: call(request))
            return request

        with sync_server(handle) as go:
            go(b"x", metadata=SENT)
    assert came(leaf) == SENT


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_callback_of_a_sync_call_carries_its_headers(leaf: Leaf, last: str, pattern: str) -> None:
    with sync_next(last) as call:

        def one(request: Any, context: grpc.ServicerContext) -> bytes:
            context.add_callback(lambda: call(b"x"))
            return b""

        def many(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield one(request, context)

        with sync_server(many if pattern.endswith("stream") else one, pattern) as go:
            answer = go(iter([b"x"]) if pattern.startswith("stream") else b"x", metadata=SENT)
            assert list(answer) if pattern.endswith("stream") else answer == b""
            wait_for(lambda: leaf.metadata.get(b"x"), "the callback has called")
    assert came(leaf) == SENT


def test_a_call_made_while_requests_are_sent_carries_the_headers(leaf: Leaf, last: str) -> None:
    """gRPC reads a stream's requests in a thread of its own."""
    with sync_next(last) as call, grpc.insecure_channel(last, options=OPTIONS) as plain:
        upload: Any = grpc.intercept_channel(plain, *sync.client_interceptors(RULE)).stream_unary("/leaf/go")

        def requests() -> Iterator[bytes]:
            yield b"upload"
            yield call(b"inside")

        with sync_server(lambda _, __: upload(requests())) as go:
            go(b"x", metadata=SENT)
    assert came(leaf, b"inside") == came(leaf, b"upload") == SENT


async def test_a_task_that_outlives_its_call_sends_none_of_its_headers(leaf: Leaf, last: str) -> None:
    over = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []
    calls: list[asyncio.Task[Any] | None] = []
    async with AioHop(last) as hop:

        async def job(name: bytes) -> None:
            await over.wait()
            await hop.next(name)

        async def handle(request: bytes, _: object) -> bytes:
            calls.append(asyncio.current_task())
            tasks.append(asyncio.create_task(job(b"left")))
            tasks.append(asyncio.create_task(job(b"lasting"), context=lasting()))
            return request

        go = await hop.serve(handle)
        await go(b"x", metadata=OrderedMetadata(SENT))
        await asyncio.wait([one for one in calls if one])  # the answer may be here before the call is over there
        over.set()
        await asyncio.gather(*tasks)
    assert (came(leaf, b"left"), came(leaf, b"lasting")) == ((), SENT)


@pytest.mark.parametrize("pattern", ["unary_unary", "unary_stream"])
def test_a_job_that_outlives_its_sync_call_sends_none_of_its_headers(leaf: Leaf, last: str, pattern: str) -> None:
    over = threading.Event()
    with sync_next(last) as call, ThreadPoolExecutor(2) as pool:
        jobs: list[Future[Any]] = []
        contexts: list[contextvars.Context] = []

        def job(name: bytes) -> None:
            over.wait(10)
            call(name)

        def one(request: bytes, _: object) -> bytes:
            contexts.append(contextvars.copy_context())
            jobs.extend((wrap(pool).submit(job, b"left"), pool.submit(lasting().run, job, b"lasting")))
            return request

        def many(request: bytes, context: object) -> Iterator[bytes]:
            yield one(request, context)

        with sync_server(many if pattern.endswith("stream") else one, pattern) as go:
            answer = go(b"x", metadata=SENT)
            assert list(answer) if pattern.endswith("stream") else answer
            wait_for(lambda: not contexts[0].run(outgoing), "the handler is left, a moment after its last answer")
            over.set()
            for each in jobs:
                each.result(10)
    assert (came(leaf, b"left"), came(leaf, b"lasting")) == ((), SENT)


def test_outside_a_call_nothing_is_sent(leaf: Leaf, last: str) -> None:
    with sync_next(last) as call:
        with sync_server(lambda request, _: bytes(call(request))) as go:
            go(b"inside", metadata=SENT)
        call(b"outside")
    assert (came(leaf, b"inside"), came(leaf, b"outside")) == (SENT, ())


async def test_an_error_and_a_cancelled_call_leave_no_headers_behind(leaf: Leaf, last: str) -> None:
    async with AioHop(last) as hop:

        async def handle(request: bytes, context: Any) -> bytes:
            await hop.next(request)
            if request == b"error":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
            if request == b"cancelled":
                await asyncio.sleep(60)
            return request

        go = await hop.serve(handle)
        with pytest.raises(grpc.aio.AioRpcError, match="enough"):
            await go(b"error", metadata=OrderedMetadata(SENT))
        hanging = go(b"cancelled", metadata=OrderedMetadata(SENT))
        await asyncio.to_thread(wait_for, lambda: b"cancelled" in leaf.metadata, "the onward call has come")
        hanging.cancel()
        await go(b"after", metadata=OTHER)
    assert [came(leaf, name) for name in (b"error", b"cancelled", b"after")] == [SENT, SENT, OTHER]


@pytest.mark.parametrize("api", ["aio", "sync"])
async def test_what_a_call_says_itself_replaces_what_was_received(leaf: Leaf, last: str, api: str) -> None:
    given = (("x-request-id", "own"), ("baggage", "own=1"), ("x-other", "o"))
    if api == "aio":
        async with AioHop(last) as hop:

            async def handle(request: bytes, _: object) -> bytes:
                return bytes(await hop.next(request, metadata=given))

            go = await hop.serve(handle)
            await go(b"x", metadata=OrderedMetadata(SENT))
    else:
        with sync_next(last) as call, sync_server(lambda request, _: bytes(call(request, metadata=given))) as go:
            go(b"x", metadata=SENT)
    assert sorted(came(leaf), key=str) == sorted((*given, SENT[0], SENT[4]), key=str)


def test_by_hand_beside_interceptors_doubles_nothing(leaf: Leaf, last: str) -> None:
    with sync_next(last) as call:

        def handle(request: bytes, context: Any) -> bytes:
            return bytes(call(request, metadata=headers_of(context, RULE)))

        with sync_server(handle) as go:
            go(b"x", metadata=SENT)
    assert came(leaf) == SENT


def test_by_hand_alone_is_enough(leaf: Leaf, last: str) -> None:
    with grpc.insecure_channel(last, options=OPTIONS) as channel:
        call: Any = channel.unary_unary("/leaf/go")
        with sync_server(lambda request, context: bytes(call(request, metadata=headers_of(context, RULE)))) as go:
            go(b"x", metadata=SENT)
    assert came(leaf) == SENT


async def test_an_unknown_method_of_an_aio_server_is_unimplemented(last: str) -> None:
    async def handle(request: bytes, _: object) -> bytes:
        return request

    async with AioHop(last) as hop:
        await hop.serve(handle)
        unknown: Any = hop.caller.unary_unary("/hop/unknown")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unknown(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_method_of_a_sync_server_is_unimplemented() -> None:
    with sync_server(lambda request, _: request, method="other") as go, pytest.raises(grpc.RpcError) as raised:
        go(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


RULES: dict[str, tuple[Any, list[str]]] = {
    "default": (rule(), ["traceparent", "baggage", "x-request-id", "baggage"]),
    "none": (rule(("none",)), []),
    "families": (rule(("w3c",)), ["traceparent", "baggage", "baggage"]),
    "keys": (rule(("x-request-id", "x-lane-*")), ["x-request-id", "x-lane-bin"]),
    "additions": (rule(("envoy",), ("x-lane-bin",)), ["x-request-id", "x-lane-bin"]),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_spelled_as_a_service_spells_it(name: str) -> None:
    spelled, expected = RULES[name]
    with serving(SENT):
        assert [key for key, _ in outgoing(rule=spelled)] == expected
    assert outgoing(rule=spelled) == ()


@pytest.mark.parametrize(
    ("propagate", "also", "told"),
    [
        (("w3x",), (), "unknown family 'w3x'"),
        (("X-Lane",), (), "write 'x-lane'"),
        (("default",), ("grpc-timeout",), "is reserved"),
        ((), (), "no entries"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_name(propagate: tuple[str, ...], also: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rule(propagate, also)


def test_a_pool_of_processes_is_refused() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match=r"pass outgoing\(\)"):
        wrap(pool)


def test_a_wrapped_pool_ends_with_its_block() -> None:
    pool: Executor = ThreadPoolExecutor(1)
    with wrap(pool) as wrapped:
        assert wrapped.submit(int, "1").result() == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
