"""`client load`: warm-up, as many processes as it takes, the measured stretch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from client.load.fleet import Fleet
from client.load.result import LoadResult
from client.load.tally import Tally
from client.options import LoadOptions

# Share of a core in the warm-up from which another worker process is started.
_BUSY = 0.7


@dataclass(frozen=True)
class Live:
    """A running load: `passed` of `seconds`; calls a second and p99 in ms are the last second's, errors all so far."""

    what: str
    passed: float
    seconds: float
    calls_per_s: float
    p99: float
    errors: int


Show: TypeAlias = Callable[[Live], None]


@dataclass
class _Meter:
    """Adds up what the workers report and shows it."""

    what: str
    seconds: float
    show: Show
    tally: Tally = field(default_factory=Tally)
    passed: float = 0.0
    _recent: list[tuple[float, Tally]] = field(default_factory=list)

    def tick(self, fresh: Tally, passed: float) -> None:
        self.tally.add(fresh)
        self.passed = passed
        self._recent = [(at, tally) for at, tally in self._recent if at > passed - 1] + [(passed, fresh)]
        self.show(self._live())

    def _live(self) -> Live:
        last = [value for _, tally in self._recent for values in tally.latencies.values() for value in values]
        return Live(
            what=self.what,
            passed=min(self.passed, self.seconds),
            seconds=self.seconds,
            calls_per_s=len(last) / max(min(1.0, self.passed), 0.1),
            p99=sorted(last)[int(len(last) * 0.99)] / 1000 if last else 0.0,
            errors=self.tally.errors.total(),
        )


def hold(options: LoadOptions, show: Show) -> LoadResult:
    """Holds the load and returns its figures; Ctrl-C ends it early. Raises NothingAnswers, WorkerLost."""
    meter = _Meter("load", options.duration, show)
    with Fleet(options) as fleet:
        fleet.grow(options.processes or 1)
        warm_up(fleet, options, show)
        try:
            shares = fleet.run(options.duration, meter.tick)
        except KeyboardInterrupt:
            return LoadResult(options, meter.tally, max(meter.passed, 0.001), (0.0,) * len(fleet), interrupted=True)
    return LoadResult(options, meter.tally, max(meter.passed, options.duration), shares)


def warm_up(fleet: Fleet, options: LoadOptions, show: Show) -> None:
    """Runs the load unmeasured, and again with more processes while one of them is nearly a whole core's work."""
    most = min(os.cpu_count() or 1, options.concurrency)
    while options.warmup:
        shares = fleet.run(options.warmup, _Meter("warm-up", options.warmup, show).tick)
        if options.processes or len(fleet) >= most or max(shares) < _BUSY:
            return
        fleet.grow(min(most, 2 * len(fleet)))
