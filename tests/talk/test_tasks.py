"""That a call leaves no task behind in a hop: the handlers in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from grpc_tracing.headers.forwarding import Propagation
from talk import relay
from talk.config import Identity, NextHop
from talk.logs import CallLog, open_log
from talk.service import Answerer, CallTracker, Forwarder, Service, generic_handlers
from tests.support.stub import ask
from tests.support.waiting import wait_until

CALLS = 5


@asynccontextmanager
async def serving(address: str, service: Service) -> AsyncIterator[None]:
    server = grpc.aio.server(handlers=generic_handlers(service))
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def desk(name: str, next_name: str | None, log: CallLog) -> CallTracker:
    return CallTracker(Identity(name, "v1", "here"), next_name, Propagation(), log, with_records=True)


async def _begin(pattern: str, channel: grpc.aio.Channel) -> Any:
    """A call in the middle of its life; the last hop waits for more where the caller has a stream to send."""
    method = f"/{relay.SERVICES[0]}/{pattern}"
    if pattern == "TalkOneAnswerMore":
        asking: Any = channel.unary_stream(method)
        call = asking(ask(",".join("0" * 100_000)))
        await call.read()
        return call
    opening: Any = channel.stream_unary if pattern == "TalkMoreAnswerOne" else channel.stream_stream
    call = opening(method)()
    await call.write(ask("0"))
    if pattern == "TalkBidirectional":
        await call.read()
    return call


@pytest.mark.parametrize("pattern", ["TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional"])
async def test_no_task_is_left_of_a_stream_whose_caller_cancels(tmp_path: Path, pattern: str) -> None:
    with open_log(Identity("svc2", "v1", "here"), "off") as log:
        last, here = f"unix:{tmp_path}/last", f"unix:{tmp_path}/here"
        next_hop = NextHop(last, "svc3", None, retry=False, http_proxy=False)
        forwarding = desk("svc2", "svc3", log)
        async with (
            serving(last, Answerer(desk("svc3", None, log))),
            relay.connect(next_hop) as onward,
            serving(here, Forwarder(forwarding, onward)),
            grpc.aio.insecure_channel(here) as channel,
        ):
            await channel.channel_ready()
            before = len(asyncio.all_tasks())
            calls = [await _begin(pattern, channel) for _ in range(CALLS)]

            async def all_are_here() -> bool:
                return forwarding.in_flight == CALLS

            await wait_until(all_are_here, "all calls have arrived")
            assert len(asyncio.all_tasks()) > before
            for call in calls:
                call.cancel()
            del calls, call

            async def none_is_left() -> bool:
                return not forwarding.in_flight and len(asyncio.all_tasks()) <= before

            await wait_until(none_is_left, "all tasks of the calls have ended", limit=10)
