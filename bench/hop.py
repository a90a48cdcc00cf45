"""What a hop costs: two talk hops against two bare ones, interleaved in one run. ``python -m bench.hop [--rounds N]``.

Prints ratios, talk to bare; ``python -m bench hop`` writes them down too.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop

from bench.chains import RunningChain, bare_hop, chain, talk_hop
from protos import landing_pb2

CONCURRENCY = 16
CALLS = 320
MESSAGES = 5_000

HEADERS = (
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-request-id", "0f2e1c7e-4a52-4d6e-9d3e-8f6f0a5c6b1d"),
    ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-sampled", "1"),
)

Load = Callable[[grpc.aio.Channel], Awaitable[int]]


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


async def unary(channel: grpc.aio.Channel) -> int:
    talk: Any = channel.unary_unary(method("Talk"))
    request = landing_pb2.TalkRequest(data="0", meta="PYTHON").SerializeToString()

    async def caller() -> None:
        for _ in range(CALLS // CONCURRENCY):
            await talk(request, metadata=HEADERS, timeout=30)

    await asyncio.gather(*[caller() for _ in range(CONCURRENCY)])
    return CALLS // CONCURRENCY * CONCURRENCY


async def server_stream(channel: grpc.aio.Channel, messages: int = MESSAGES) -> int:
    talk: Any = channel.unary_stream(method("TalkOneAnswerMore"))
    request = landing_pb2.TalkRequest(data=",".join("0" * messages), meta="PYTHON").SerializeToString()
    return sum([1 async for _ in talk(request, metadata=HEADERS)])


async def client_stream(channel: grpc.aio.Channel) -> int:
    request = landing_pb2.TalkRequest(data="0", meta="PYTHON").SerializeToString()
    call: Any = channel.stream_unary(method("TalkMoreAnswerOne"))(metadata=HEADERS)
    for _ in range(MESSAGES):
        await call.write(request)
    await call.done_writing()
    await call
    return MESSAGES


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
    "unary": unary,
    "server stream": server_stream,
    "client stream": client_stream,
    "bidirectional stream": bidirectional,
}


async def measure(running: RunningChain, load: Load) -> Sample:
    async with grpc.aio.insecure_channel(running.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        await channel.channel_ready()
        cpu, began = running.cpu_seconds(), time.perf_counter()
        units = await load(channel)
        return Sample(units, time.perf_counter() - began, running.cpu_seconds() - cpu, len(running.forwarders))


async def compare(
    talk: RunningChain, bare: RunningChain, rounds: int, loads: Iterable[str] = tuple(LOADS)
) -> dict[str, dict[str, float]]:
    """Ratios, talk to bare: the median over rounds whose two slices ran back to back, in alternating order."""
    table = {}
    for name in loads:
        pairs = [await _pair(talk, bare, LOADS[name], swap=bool(turn % 2)) for turn in range(rounds + 1)]
        table[name] = _ratios(pairs[1:])  # the first warms both up
    return table


async def _pair(talk: RunningChain, bare: RunningChain, load: Load, *, swap: bool) -> tuple[Sample, Sample]:
    if swap:
        second = await measure(bare, load)
        return await measure(talk, load), second
    return await measure(talk, load), await measure(bare, load)


def _ratios(pairs: Sequence[tuple[Sample, Sample]]) -> dict[str, float]:
    median = statistics.median
    return {
        "cpu_ratio": round(median(talk.cpu_us / bare.cpu_us for talk, bare in pairs), 3),
        "rate_ratio": round(median(talk.per_second / bare.per_second for talk, bare in pairs), 3),
        "talk_cpu_us": round(median(talk.cpu_us for talk, _ in pairs), 1),
        "bare_cpu_us": round(median(bare.cpu_us for _, bare in pairs), 1),
        "talk_per_second": round(median(talk.per_second for talk, _ in pairs)),
        "bare_per_second": round(median(bare.per_second for _, bare in pairs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of slices per load (default 9)")
    parser.add_argument("--load", choices=LOADS, action="append", help="only this load; may repeat")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the talk hops (this one)")
    options = parser.parse_args()
    with ExitStack() as stack:
        talk = stack.enter_context(chain("talk", talk_hop, python=options.python))
        bare = stack.enter_context(chain("bare", bare_hop))
        table = uvloop.run(compare(talk, bare, options.rounds, options.load or tuple(LOADS)))
    _show(table)


def _show(table: dict[str, dict[str, float]]) -> None:
    print(f"{'talk : bare':22} {'CPU':>6} {'rate':>6} {'CPU us, per call or message and hop':>37} {'per second':>17}")
    for name, row in table.items():
        cpu = f"{row['talk_cpu_us']} : {row['bare_cpu_us']}"
        rate = f"{row['talk_per_second']:.0f} : {row['bare_per_second']:.0f}"
        print(f"{name:22} {row['cpu_ratio']:6.2f} {row['rate_ratio']:6.2f} {cpu:>37} {rate:>17}")


if __name__ == "__main__":
    main()
