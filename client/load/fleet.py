"""The worker processes of a load, and the phases that they go through together."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import TypeAlias

from client.load.tally import Tally
from client.load.worker import Phase, Report, work
from client.options import LoadOptions
from grpc_tracing.calling.channel import NothingAnswers

# From the order to start until the start: a worker must have read it by then.
_LEAD = 0.05
_TICK = 0.25

OnTick: TypeAlias = Callable[[Tally, float], None]
"""Gets what was measured since the last tick, and how many seconds have passed since the phase's start."""


class WorkerLost(Exception):  # noqa: N818 - reads as what it says
    """A worker process ended on its own."""


class Fleet:
    """Worker processes that are connected to the target; ended with the `with` block."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[SpawnProcess, Connection]] = []

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, connection in self._workers:
            connection.close()
        for process, _ in self._workers:
            process.join(1)
            process.kill()
            process.join()

    def __len__(self) -> int:
        return len(self._workers)

    def grow(self, workers: int) -> None:
        """Starts workers until there are so many. Raises NothingAnswers where one cannot connect."""
        for connection in [self._start() for _ in range(workers - len(self._workers))]:
            if failure := _receive(connection).failure:
                raise NothingAnswers(failure)

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._options), daemon=True)
        process.start()
        theirs.close()
        self._workers.append((process, ours))
        return ours

    def run(self, seconds: float, on_tick: OnTick) -> tuple[float, ...]:
        """Lets all workers go through one phase, until its last answer; returns the share of a core that each took."""
        start = time.monotonic() + _LEAD
        open_ones = [connection for _, connection in self._workers]
        for index, connection in enumerate(open_ones):
            connection.send(Phase(start, seconds, index, len(open_ones)))
        shares: list[float] = []
        while open_ones:
            told = wait(open_ones, _TICK)
            reports = {connection: _receive(connection) for connection in open_ones if connection in told}
            open_ones = [one for one in open_ones if one not in reports or not reports[one].ended]
            shares += [report.cpu_share for report in reports.values() if report.ended]
            on_tick(_sum(reports.values()), max(0.0, time.monotonic() - start))
        return tuple(shares)


def _sum(reports: Iterable[Report]) -> Tally:
    tally = Tally()
    for report in reports:
        tally.add(report.tally)
    return tally


def _receive(connection: Connection) -> Report:
    try:
        report: Report = connection.recv()
    except (EOFError, ConnectionError):
        raise WorkerLost("a worker process of the load ended on its own: was it killed?") from None
    return report
