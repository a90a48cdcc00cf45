"""One process of a load: makes its share of the calls and reports what it measured, twice a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

import grpc.aio
import uvloop

from client.call.context import TraceContext, begins_a_trace, metadata, new_context
from client.call.rpc import Landing, parsed
from client.load.pacer import Pacer, at_random, evenly
from client.load.reading import Reader
from client.load.tally import Tally
from client.options import LoadOptions
from grpc_tracing.calling.channel import NothingAnswers, open_channel, reach
from grpc_tracing.headers.families import HOP_RECORD

_REPORT = 0.5  # seconds
_AFTER_FAILURE = 0.01  # seconds that a closed loop waits: a dead target must not make it spin


@dataclass(frozen=True)
class Phase:
    """A stretch of load: from `start` on, in seconds of the monotonic clock, as worker `index` of `workers`."""

    start: float
    seconds: float
    index: int
    workers: int


@dataclass(frozen=True)
class Report:
    """What a worker says: first that it is connected, or its `failure` in a line; then what it measured since.

    `ended` closes the phase, with the share of a core that it took.
    """

    tally: Tally = field(default_factory=Tally)
    ended: bool = False
    cpu_share: float = 0.0
    failure: str = ""


def work(connection: Connection, options: LoadOptions) -> None:
    """A worker process: takes phases from `connection` until it closes, and sends reports back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    with contextlib.suppress(BrokenPipeError):
        uvloop.run(_work(connection, options))


async def _work(connection: Connection, options: LoadOptions) -> None:
    target = options.target
    async with open_channel(target.address, target.tls, target.authority, target.timeout) as channel:
        try:
            await reach(channel, target.address, target.timeout)
        except NothingAnswers as error:
            connection.send(Report(failure=str(error)))
            return
        connection.send(Report())
        phases = _Inbox(connection)
        async for phase in phases:
            await Stretch(phase, Landing(channel), options, connection).run(phases.closed)


class _Inbox:
    """The phases that the parent sends; `closed` once it sends no more, so that a running one can end early."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._phases: asyncio.Queue[Phase | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()
        threading.Thread(target=self._receive, daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[Phase]:
        while phase := await self._phases.get():
            yield phase

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while phase := self._connection.recv():
                self._loop.call_soon_threadsafe(self._phases.put_nowait, phase)
        with contextlib.suppress(RuntimeError):  # the loop has ended first
            self._loop.call_soon_threadsafe(self.closed.set)
            self._loop.call_soon_threadsafe(self._phases.put_nowait, None)


def numbers(phase: Phase, rate: float | None) -> Iterator[int]:
    """The numbers of a worker's calls, which choose their RPCs from the mix.

    An open loop deals all calls out to the workers in turn. In a closed one each goes through the whole mix: with a
    part of it alone, the workers of fast RPCs would make more calls than the mix says.
    """
    return itertools.count(phase.index, phase.workers if rate else 1)


class Stretch:
    """The calls of one phase."""

    def __init__(self, phase: Phase, landing: Landing, options: LoadOptions, connection: Connection) -> None:
        self._phase = phase
        self._landing = landing
        self._options = options
        self._connection = connection
        self._tally = Tally()
        self._reader = Reader()
        self._until = phase.start + phase.seconds
        self._pacer: Pacer | None = None
        self._begins_traces = False
        self._may_begin = not begins_a_trace(options.target.custom)
        self._numbers = numbers(phase, options.rate)
        self._streamed = tuple(number % 6 for number in range(options.messages))

    async def run(self, closed: asyncio.Event) -> None:
        """Makes the calls, and waits for those in flight. Ends early once `closed`."""
        await asyncio.sleep(max(0.0, self._phase.start - time.monotonic()))
        cpu, began = time.process_time(), time.monotonic()
        reporting = asyncio.create_task(self._report())
        stopping = asyncio.create_task(self._stop(closed))
        await (self._closed_loop() if self._options.rate is None else self._open_loop(self._options.rate))
        for task in (reporting, stopping):
            task.cancel()
        share = (time.process_time() - cpu) / max(time.monotonic() - began, 1e-9)
        self._connection.send(Report(self._tally, ended=True, cpu_share=share))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT)
            tally, self._tally = self._tally, Tally()
            self._connection.send(Report(tally))

    async def _stop(self, closed: asyncio.Event) -> None:
        await closed.wait()
        self._until = 0.0
        if self._pacer:
            self._pacer.stop()

    def _share_of(self, total: int) -> int:
        """This worker's, where all are dealt out in turn."""
        return len(range(self._phase.index, total, self._phase.workers))

    async def _closed_loop(self) -> None:
        callers = self._share_of(self._options.concurrency)
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._caller())

    async def _caller(self) -> None:
        while time.monotonic() < self._until:
            if not await self._call(next(self._numbers), time.monotonic()):
                await asyncio.sleep(_AFTER_FAILURE)

    async def _open_loop(self, rate: float) -> None:
        gate = asyncio.Semaphore(self._share_of(self._options.concurrency))
        async with asyncio.TaskGroup() as group:

            def due(intended: float) -> None:
                self._tally.lateness.append(int((time.monotonic() - intended) * 1e6))
                group.create_task(self._gated(gate, next(self._numbers), intended))

            self._pacer = Pacer(self._starts(rate), due)
            await self._pacer.run()

    def _starts(self, rate: float) -> Iterable[float]:
        phase = self._phase
        mine = self._share_of(round(phase.seconds * rate))
        if self._options.arrivals == "poisson":
            return at_random(phase.start, phase.seconds, mine, random.Random())  # noqa: S311 - no secret
        return evenly(phase.start + phase.index / rate, phase.workers / rate, mine)

    async def _gated(self, gate: asyncio.Semaphore, number: int, intended: float) -> None:
        async with gate:
            if time.monotonic() > self._until + self._options.target.timeout:
                self._tally.unstarted += 1
            else:
                await self._call(number, intended)

    async def _call(self, number: int, intended: float) -> bool:
        """Makes one call and counts it; its latency counts from `intended`. True where it succeeded."""
        target, rpc = self._options.target, self._options.mix[number % len(self._options.mix)]
        asked = (number % 6,) if rpc == "Talk" else self._streamed
        began = time.monotonic()
        call, responses = self._landing.begin(rpc, asked, metadata(target.custom, self._context()), target.timeout)
        answers = 0
        try:
            async for raw in responses:
                response = parsed(raw)
                answers += len(response.results) if response and response.status == 200 else 0
        except grpc.aio.AioRpcError:
            pass  # its code is read below
        ended = time.monotonic()
        status = (await call.code()).name
        if status != "OK" or answers != len(asked):
            self._tally.failed(rpc, status if status != "OK" else "WRONG_ANSWERS")
            return False
        self._tally.succeeded(rpc, int((ended - intended) * 1e6), answers)
        if self._options.judge:
            trailers = await call.trailing_metadata()
            records = cast("list[bytes]", trailers.get_all(HOP_RECORD))  # as those of every -bin key
            traced = self._reader.read(self._tally, rpc, records, int((ended - began) * 1e6))
            self._begins_traces = self._begins_traces or (self._may_begin and not traced)
        return True

    def _context(self) -> TraceContext | None:
        """Ids of this call's own, once an answer has shown that nobody else begins a trace."""
        return new_context() if self._begins_traces else None
