"""A unary call past grpc.aio's own objects, beside one that interceptors wrap: both end alike."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from grpc_tracing.calling.unary import UnaryMethod, ask
from tests.support.waiting import wait_until

SENT = (("x-one", "1"), ("x-two", "2"), ("x-one", "3"))


class Other:
    """The service that is called: what it saw."""

    def __init__(self) -> None:
        self.metadata: list[tuple[str, str | bytes]] = []
        self.waiting = False
        self.cancelled = False

    async def answer(self, request: bytes, context: Any) -> bytes:
        self.metadata = [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]
        await context.send_initial_metadata((("x-first", "f"),))
        context.set_trailing_metadata((("x-last-bin", b"l"),))
        if request == b"refuse":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none here", (("x-last-bin", b"l"),))
        if request == b"wait":
            await self._wait()
        return request + b"!"

    async def _wait(self) -> None:
        self.waiting = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Passing(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(client_call_details, request)


@pytest.fixture
async def other() -> Other:
    return Other()


@pytest.fixture(params=["own", "wrapped", "of another grpcio"])
async def method(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, other: Other, tmp_path: Path
) -> AsyncIterator[UnaryMethod]:
    if request.param == "of another grpcio":
        monkeypatch.setattr(grpc, "__version__", "2.0.0")
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(other.answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": handler}),))
    server.add_insecure_port(f"unix:{tmp_path}/other")
    await server.start()
    interceptors = [Passing()] if request.param == "wrapped" else None
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/other", interceptors=interceptors) as channel:
        await channel.channel_ready()
        yield channel.unary_unary("/a.B/C")
    await server.stop(None)


async def test_it_brings_the_answer_and_what_came_before_and_after_it(method: UnaryMethod, other: Other) -> None:
    answer = await ask(method, b"a", metadata=SENT, timeout=20)
    assert answer.message == b"a!"
    assert tuple(answer.initial_metadata) == (("x-first", "f"),)
    assert tuple(answer.trailing_metadata) == (("x-last-bin", b"l"),)
    assert other.metadata == list(SENT)


async def test_a_status_is_raised_with_its_metadata(method: UnaryMethod) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(method, b"refuse", metadata=(), timeout=20)
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.NOT_FOUND, "none here")
    assert tuple(raised.value.initial_metadata()) == (("x-first", "f"),)
    assert tuple(raised.value.trailing_metadata()) == (("x-last-bin", b"l"),)


async def test_its_time_ends_it(method: UnaryMethod) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(method, b"wait", metadata=(), timeout=0.2)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_who_cancels_the_wait_cancels_the_call(method: UnaryMethod, other: Other) -> None:
    asking = asyncio.create_task(ask(method, b"wait", metadata=(), timeout=None))

    async def arrived() -> bool:
        return other.waiting

    async def cancelled() -> bool:
        return other.cancelled

    await wait_until(arrived, "the call is there")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await wait_until(cancelled, "the other side is told")


@pytest.mark.parametrize("method", ["own"], indirect=True)
async def test_it_takes_no_task_of_its_own(method: UnaryMethod, other: Other) -> None:
    asking = asyncio.create_task(ask(method, b"wait", metadata=(), timeout=20))

    async def arrived() -> bool:
        return other.waiting

    await wait_until(arrived, "the call is there")
    assert not [task for task in asyncio.all_tasks() if "_invoke" in repr(task.get_coro())]
    asking.cancel()
