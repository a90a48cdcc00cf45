"""What judging costs `client load`: stretches that read the hop records of their answers, between some that do not.

All run in one process over one channel, so that they differ in nothing else.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import Pipe

from bench.chains import chain, talk_hop
from client.call.rpc import Landing
from client.load.tally import Tally
from client.load.worker import Phase, Report, Stretch
from client.options import LoadOptions, Target
from grpc_tracing.calling.channel import open_channel, reach

# As behind an ingress that begins the traces: judged or not, a call sends the same.
_TRACE = (("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
_STRETCH = 0.15  # seconds
_REACHED_WITHIN = 30.0


@dataclass(frozen=True)
class Sample:
    """A stretch of load: CPU of the requester in µs per call, and calls a second."""

    cpu_us: float
    per_second: float


@dataclass(frozen=True)
class Compared:
    """Medians over pairs: a stretch that judges to the one beside it that does not; its CPU in µs per call."""

    cpu_ratio: float
    rate_ratio: float
    cpu_us: float


async def compare(target: str, rpc: str, pairs: int) -> Compared:
    """A closed loop with 16 calls in flight, none of which may fail."""
    options = LoadOptions(target=Target(address=target, custom=_TRACE, timeout=60.0), mix=(rpc,))
    async with open_channel(target, None, None, _REACHED_WITHIN) as channel:
        await reach(channel, target, _REACHED_WITHIN)
        landing = Landing(channel)
        await _stretch(landing, options)
        found = [await _pair(landing, options, judging_first=bool(number % 2)) for number in range(pairs)]
    return Compared(
        cpu_ratio=_median(found, lambda on, off: on.cpu_us / off.cpu_us),
        rate_ratio=_median(found, lambda on, off: on.per_second / off.per_second),
        cpu_us=_median(found, lambda on, _: on.cpu_us),
    )


def _median(pairs: list[tuple[Sample, Sample]], figure: Callable[[Sample, Sample], float]) -> float:
    return statistics.median(figure(*pair) for pair in pairs)


async def _pair(landing: Landing, options: LoadOptions, *, judging_first: bool) -> tuple[Sample, Sample]:
    order = (True, False) if judging_first else (False, True)
    made = {judge: await _stretch(landing, replace(options, judge=judge)) for judge in order}
    return made[True], made[False]


async def _stretch(landing: Landing, options: LoadOptions) -> Sample:
    ours, theirs = Pipe()
    began, cpu = time.monotonic(), time.process_time()
    phase = Phase(start=began, seconds=_STRETCH, index=0, workers=1)
    await Stretch(phase, landing, options, theirs).run(closed=asyncio.Event())
    cpu, seconds = time.process_time() - cpu, time.monotonic() - began
    tally = Tally()
    while ours.poll():
        report: Report = ours.recv()
        tally.add(report.tally)
    assert not tally.errors, tally.errors
    assert bool(tally.judged) is options.judge
    return Sample(cpu_us=cpu / tally.calls * 1e6, per_second=tally.calls / seconds)


async def judging(pairs: int) -> dict[str, Compared]:
    """Over a chain of three, for a short call and for streams of three messages."""
    with chain("load", talk_hop) as running:
        return {rpc: await compare(running.target, rpc, pairs) for rpc in ("Talk", "TalkBidirectional")}
