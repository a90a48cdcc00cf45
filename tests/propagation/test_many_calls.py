"""Many calls at once: each has ids of its own, and no id is ever on another's call; nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import grpc.aio
import psutil
import pytest

from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.headers.families import Metadata
from grpc_tracing.propagation import aio, wrap
from grpc_tracing.propagation.received import Received
from tests.propagation.hop import OPTIONS
from tests.propagation.leaf import Leaf, serve
from tests.propagation.test_calls import AioHop, sync_next, sync_server

CALLS: Final = 5_000
AT_ONCE: Final = 64
WAYS: Final = 4
"""Onward calls of each call: by itself, in a task, in a thread, and one hop further."""


def sent(number: int) -> Metadata:
    return (("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"), ("x-request-id", f"r{number}"))


def mixed_up(leaf: Leaf) -> list[bytes]:
    """The onward calls that came with other headers than the call that they were made for."""
    return [name for name, came in leaf.metadata.items() if came != [sent(int(name.split()[0]))]]


@pytest.mark.full
async def test_no_id_is_ever_on_another_aio_call(leaf: Leaf, last: str) -> None:
    """5,000 onward calls by 64 interleaved callers: by tasks, threads and a nested call of the hop to itself."""
    with sync_next(last) as blocking, ThreadPoolExecutor(16) as plain:
        pool = wrap(plain)
        async with AioHop(last) as hop:
            itself: list[Any] = []

            async def handle(request: bytes, _: object) -> bytes:
                if request.endswith(b"nested"):
                    return bytes(await hop.next(request))
                await asyncio.sleep(0)
                await asyncio.gather(
                    hop.next(request + b" direct"),
                    asyncio.create_task(later(request + b" task")),
                    asyncio.get_running_loop().run_in_executor(pool, blocking, request + b" thread"),
                    itself[0](request + b" nested"),
                )
                return request

            async def later(name: bytes) -> None:
                await asyncio.sleep(0.001)
                await hop.next(name)

            go = await hop.serve(handle)
            inside = grpc.aio.insecure_channel(
                f"127.0.0.1:{hop.port}", options=OPTIONS, interceptors=aio.client_interceptors()
            )
            itself.append(inside.unary_unary("/hop/go"))
            await _drive(go, CALLS // WAYS)
            await inside.close()
    assert (len(leaf.metadata), mixed_up(leaf)) == (CALLS, [])


async def _drive(go: Any, calls: int) -> None:
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await go(b"%d" % number, metadata=OrderedMetadata(sent(number)))

    await asyncio.gather(*[caller() for _ in range(AT_ONCE)])


@pytest.mark.full
def test_no_id_is_ever_on_another_sync_call(leaf: Leaf, last: str) -> None:
    calls = 1_000
    with sync_next(last) as call, ThreadPoolExecutor(16) as plain:
        pool = wrap(plain)

        def handle(request: bytes, _: object) -> bytes:
            jobs = [pool.submit(call, request + b" thread"), pool.submit(call, request + b" other")]
            call(request + b" direct")
            for job in jobs:
                job.result(20)
            return request

        with sync_server(handle) as go, ThreadPoolExecutor(AT_ONCE) as callers:
            list(callers.map(lambda number: go(b"%d" % number, metadata=sent(number)), range(calls)))
    assert (len(leaf.metadata), mixed_up(leaf)) == (calls * 3, [])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("api", ["aio", "sync"])
async def test_nothing_is_left_of_a_hundred_thousand_calls(api: str) -> None:
    with serve(Echo()) as quiet:
        before, after = await _aio_calls(quiet) if api == "aio" else await asyncio.to_thread(_sync_calls, quiet)
    print(f"{api}: RSS {before[0]:.1f} MiB after 10,000 calls, {after[0]:.1f} after 100,000 more; kept {after[1]}")  # noqa: T201
    assert after[1] <= AT_ONCE, "headers of ended calls are kept"
    assert after[0] < before[0] * 1.1 + 5


Held = tuple[float, int]
"""RSS in MiB, and how many calls' headers this process keeps."""


async def _aio_calls(last: str) -> tuple[Held, Held]:
    async with AioHop(last) as hop:

        async def handle(request: bytes, _: object) -> bytes:
            return bytes(await asyncio.create_task(_awaited(hop.next, request)))

        go = await hop.serve(handle)
        await _drive(go, 10_000)
        before = _held()
        await _drive(go, 100_000)
        return before, _held()


def _sync_calls(last: str) -> tuple[Held, Held]:
    def drive(calls: int) -> None:
        # One job for each caller: a future for each call would be 60 MiB of its own.
        list(callers.map(caller, [calls // AT_ONCE] * AT_ONCE))

    def caller(calls: int) -> None:
        for number in range(calls):
            go(b"x", metadata=sent(number))

    with (
        sync_next(last) as call,
        sync_server(lambda request, _: bytes(call(request))) as go,
        ThreadPoolExecutor(AT_ONCE) as callers,
    ):
        drive(10_000)
        before = _held()
        drive(100_000)
        return before, _held()


async def _awaited(call: Any, request: bytes) -> Any:
    return await call(request)


def _held() -> Held:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20, sum(isinstance(one, Received) for one in gc.get_objects())


class Echo(Leaf):
    """A leaf that notes nothing."""

    def _echo(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        yield next(requests)
