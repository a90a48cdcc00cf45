"""What a hop costs: two talk hops against two bare ones, interleaved in one run. ``python -m bench.hop [--pairs N]``.

Prints ratios, talk to bare; ``python -m bench hop`` writes them down too. ``--before CHECKOUT`` compares with the talk
hops of another checkout instead, to tell what a change gave.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import uvloop

from bench.chains import RunningChain, bare_hop, chain, talk_hop
from protos import landing_pb2

CONCURRENCY = 16
CALLS = 320
MESSAGES = 5_000
SHORT = 96
"""Calls of a slice that is compared: what else the machine does changes less between two short ones."""
SHORT_STREAM = 1_000
"""Messages of such a slice."""

HEADERS = (
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-request-id", "0f2e1c7e-4a52-4d6e-9d3e-8f6f0a5c6b1d"),
    ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-sampled", "1"),
)

_WARMING = 2
"""Pairs that are not counted."""

Load = Callable[[grpc.aio.Channel], Awaitable[int]]
Measure = Callable[[Load], Awaitable["Sample"]]


@dataclass(frozen=True)
class Sample:
    """One slice of load on one chain: units are calls or messages."""

    units: int
    seconds: float
    cpu_seconds: float
    hops: int

    @property
    def per_second(self) -> float:
        return self.units / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per unit and hop."""
        return self.cpu_seconds * 1e6 / self.units / self.hops


def method(name: str) -> str:
    return f"/{landing_pb2.DESCRIPTOR.services_by_name['LandingService'].full_name}/{name}"


async def unary(channel: grpc.aio.Channel, calls: int = CALLS) -> int:
    talk: Any = channel.unary_unary(method("Talk"))
    request = landing_pb2.TalkRequest(data="0", meta="PYTHON").SerializeToString()

    async def caller() -> None:
        for _ in range(calls // CONCURRENCY):
            await talk(request, metadata=HEADERS, timeout=30)

    await asyncio.gather(*[caller() for _ in range(CONCURRENCY)])
    return calls // CONCURRENCY * CONCURRENCY


async def server_stream(channel: grpc.aio.Channel, messages: int = MESSAGES) -> int:
    talk: Any = channel.unary_stream(method("TalkOneAnswerMore"))
    request = landing_pb2.TalkRequest(data=",".join("0" * messages), meta="PYTHON").SerializeToString()
    return sum([1 async for _ in talk(request, metadata=HEADERS)])


async def client_stream(channel: grpc.aio.Channel, messages: int = MESSAGES) -> int:
    request = landing_pb2.TalkRequest(data="0", meta="PYTHON").SerializeToString()
    call: Any = channel.stream_unary(method("TalkMoreAnswerOne"))(metadata=HEADERS)
    for _ in range(messages):
        await call.write(request)
    await call.done_writing()
    await call
    return messages


async def bidirectional(channel: grpc.aio.Channel, messages: int = MESSAGES) -> int:
    request = landing_pb2.TalkRequest(data="0", meta="PYTHON").SerializeToString()
    call: Any = channel.stream_stream(method("TalkBidirectional"))(metadata=HEADERS)

    async def write() -> None:
        for _ in range(messages):
            await call.write(request)
        await call.done_writing()

    writing = asyncio.create_task(write())
    answers = 0
    while await call.read() is not grpc.aio.EOF:
        answers += 1
    await writing
    return answers


LOADS: dict[str, Load] = {
    "unary": partial(unary, calls=SHORT),
    "server stream": partial(server_stream, messages=SHORT_STREAM),
    "client stream": partial(client_stream, messages=SHORT_STREAM),
    "bidirectional stream": partial(bidirectional, messages=SHORT_STREAM),
}


async def measure(running: RunningChain, load: Load) -> Sample:
    async with _connected(running) as channel:
        return await _sample(running, channel, load)


@asynccontextmanager
async def _connected(running: RunningChain) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(running.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        await channel.channel_ready()
        yield channel


async def _sample(running: RunningChain, channel: grpc.aio.Channel, load: Load) -> Sample:
    cpu, began = running.cpu_seconds(), time.perf_counter()
    units = await load(channel)
    return Sample(units, time.perf_counter() - began, running.cpu_seconds() - cpu, len(running.forwarders))


@dataclass(frozen=True)
class Ratio:
    """Over pairs: the median, an interval that holds the true one in 95 of 100 runs, and the middle half of all."""

    median: float
    interval: tuple[float, float]
    half: tuple[float, float]

    @classmethod
    def of(cls, values: Iterable[float]) -> Ratio:
        """Of at least two values. The interval is that of the sign test: values so many places from the middle one."""
        ranked = sorted(values)
        lowest = max(0, math.floor(len(ranked) / 2 - 0.98 * math.sqrt(len(ranked))))
        first, _, third = statistics.quantiles(ranked, n=4)
        return cls(statistics.median(ranked), (ranked[lowest], ranked[-1 - lowest]), (first, third))


@dataclass(frozen=True)
class Compared:
    """One to the other, and medians of each one's own CPU in µs and units a second."""

    cpu: Ratio
    rate: Ratio
    cpu_us: tuple[float, float]
    per_second: tuple[float, float]


async def compare(
    one: RunningChain, other: RunningChain, pairs: int, loads: Iterable[str] = tuple(LOADS)
) -> dict[str, Compared]:
    """By load, over pairs of slices that ran back to back, in alternating order."""
    async with _connected(one) as to_one, _connected(other) as to_other:
        measured = (partial(_sample, one, to_one), partial(_sample, other, to_other))
        table = {}
        for name in loads:
            found = [await _pair(*measured, LOADS[name], swap=bool(turn % 2)) for turn in range(pairs + _WARMING)]
            table[name] = _compared(found[_WARMING:])
    return table


async def _pair(one: Measure, other: Measure, load: Load, *, swap: bool) -> tuple[Sample, Sample]:
    if swap:
        second = await other(load)
        return await one(load), second
    return await one(load), await other(load)


def _compared(pairs: Sequence[tuple[Sample, Sample]]) -> Compared:
    median = statistics.median
    return Compared(
        cpu=Ratio.of(one.cpu_us / other.cpu_us for one, other in pairs),
        rate=Ratio.of(one.per_second / other.per_second for one, other in pairs),
        cpu_us=(median(one.cpu_us for one, _ in pairs), median(other.cpu_us for _, other in pairs)),
        per_second=(median(one.per_second for one, _ in pairs), median(other.per_second for _, other in pairs)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hop", description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="pairs of slices per load, two or more (default 60)")
    parser.add_argument("--load", choices=LOADS, action="append", help="only this load; may repeat")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the talk hops (this one)")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="compare with the talk hops of this checkout")
    options = parser.parse_args()
    base = partial(talk_hop, python=options.python, checkout=options.before) if options.before else bare_hop
    with ExitStack() as stack:
        talk = stack.enter_context(chain("talk", talk_hop, python=options.python))
        other = stack.enter_context(chain("base", base))
        table = uvloop.run(compare(talk, other, options.pairs, options.load or tuple(LOADS)))
    _show(table, "before" if options.before else "bare")


def _show(table: dict[str, Compared], base: str) -> None:
    print(f"{f'talk : {base}':22} {'CPU':>6} {'95 %':>14} {'half':>14} {'rate':>6} {'half':>14} {'CPU us':>18}")
    for name, row in table.items():
        cpu = f"{row.cpu.median:6.3f} {between(row.cpu.interval):>14} {between(row.cpu.half):>14}"
        rate = f"{row.rate.median:6.3f} {between(row.rate.half):>14}"
        print(f"{name:22} {cpu} {rate} {row.cpu_us[0]:8.1f} : {row.cpu_us[1]:.1f}")


def between(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.3f} to {limits[1]:.3f}"


if __name__ == "__main__":
    main()
