"""A service's own timers: calls that follow no call in, and begin traces of their own."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import grpc

from talk import relay
from talk.config import Job, NextHop
from talk.fan_out import QUESTION

_DEADLINE: Final = 5.0


@contextlib.asynccontextmanager
async def running(jobs: Sequence[Job], interceptors: Sequence[grpc.aio.ClientInterceptor]) -> AsyncIterator[None]:
    """Runs the timers until the block ends."""
    tasks = [asyncio.create_task(_run(job, interceptors)) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _run(job: Job, interceptors: Sequence[grpc.aio.ClientInterceptor]) -> None:
    hop = NextHop(target=job.target, name=job.target, tls=None, retry=False, http_proxy=False)
    async with relay.connect(hop, interceptors) as onward:
        talk = onward.talk[relay.SERVICES[0]]
        while True:
            # Not in step with any other timer, as where the work itself takes its time.
            await asyncio.sleep(job.every * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            with contextlib.suppress(grpc.aio.AioRpcError):  # the next one may pass
                await talk(QUESTION, metadata=None, timeout=_DEADLINE)
