"""What there is to measure. Each part gives its tables; what is compared runs interleaved, in one run."""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from bench import hop, load, peers
from bench import interceptors as headers_by
from bench import trace_page as pages
from bench.chains import ROOT, RunningChain, bare_hop, chain, last_hop, started, talk_hop
from bench.steps import steps
from bench.table import Cell, Table
from protos import landing_pb2

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds of each comparison, calls of each slice, messages of the longest stream."""

    rounds: int
    calls: int
    longest_stream: int

    @property
    def streams(self) -> list[int]:
        return [length for length in (1_000, 10_000, 100_000, 1_000_000) if length <= self.longest_stream]


_PAIRS = 6
"""Pairs of short slices in place of one of long ones."""

QUICK = Scale(rounds=3, calls=100, longest_stream=10_000)
FULL = Scale(rounds=9, calls=300, longest_stream=1_000_000)

Slice = Callable[[], Awaitable[float]]


async def interleaved(slices: dict[str, Slice], rounds: int) -> dict[str, list[float]]:
    """Each slice's figures, one a round; slices run back to back, in an order that turns. One round more warms up."""
    found: dict[str, list[float]] = {name: [] for name in slices}
    for turn in range(rounds + 1):
        names = list(slices)[:: 1 if turn % 2 else -1]
        for name in names:
            figure = await slices[name]()
            if turn:
                found[name].append(figure)
    return found


def ratios(figures: Mapping[str, Sequence[float]], baseline: str) -> dict[str, float]:
    """The median, over rounds, of each one's ratio to the baseline."""
    return {
        name: statistics.median(one / base for one, base in zip(values, figures[baseline], strict=True))
        for name, values in figures.items()
    }


@asynccontextmanager
async def _connected(target: str) -> AsyncIterator[Any]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        await channel.channel_ready()
        yield channel.unary_unary(hop.method("Talk"))


def _request(size: int = 0) -> bytes:
    return landing_pb2.TalkRequest(data="0", meta="m" * size).SerializeToString()


async def p50_ms(target: str, calls: int, request: bytes = b"", headers: Headers = hop.HEADERS) -> float:
    """The median latency of calls one after the other."""
    times = []
    async with _connected(target) as talk:
        for _ in range(calls):
            began = time.perf_counter()
            await talk(request or _request(), metadata=headers, timeout=60)
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def calls_per_second(target: str, calls: int, concurrency: int = 16) -> float:
    async with _connected(target) as talk:

        async def caller() -> None:
            for _ in range(-(-calls // concurrency)):
                await talk(_request(), metadata=hop.HEADERS, timeout=60)

        began = time.perf_counter()
        await asyncio.gather(*[caller() for _ in range(concurrency)])
        return -(-calls // concurrency) * concurrency / (time.perf_counter() - began)


async def hop_cost(scale: Scale) -> list[Table]:
    """Two talk hops against two of the barest forwarders."""
    with chain("talk", talk_hop) as talk, chain("bare", bare_hop) as bare:
        found = await hop.compare(talk, bare, _PAIRS * scale.rounds)
    rows: list[list[Cell]] = [
        [
            name,
            round(row.cpu.median, 3),
            hop.between(row.cpu.interval),
            hop.between(row.cpu.half),
            round(row.rate.median, 3),
            hop.between(row.rate.half),
            *[round(us, 1) for us in row.cpu_us],
        ]
        for name, row in found.items()
    ]
    columns = (
        "",
        "CPU, talk : bare",
        "95 % of the median",
        "half of the pairs",
        "rate, talk : bare",
        "half of the pairs",
        "talk CPU µs",
        "bare CPU µs",
    )
    note = (
        "CPU in µs per call (unary) or message (streams) and hop. Ratios are medians over pairs of slices of 96 calls, "
        "or of a stream of 1,000 messages; the interval is that of the sign test."
    )
    return [Table("hop", "A hop against the barest forwarder", columns, rows, note)]


MODES = {
    "direct": ("--no-mesh",),
    "plain Envoys": ("--no-mtls", "--tracer", "none"),
    "mTLS, RBAC, tracing": ("--batch-spans",),
}


async def modes(scale: Scale) -> list[Table]:
    """The chain of three, directly and through ingress and sidecars."""
    with ExitStack() as stack:
        targets = {name: stack.enter_context(_mesh(*options)) for name, options in MODES.items()}
        latency = await interleaved(
            {name: partial(p50_ms, target, scale.calls) for name, target in targets.items()}, scale.rounds
        )
        rate = await interleaved(
            {name: partial(calls_per_second, target, scale.calls) for name, target in targets.items()},
            scale.rounds,
        )
    slower, faster = ratios(latency, "direct"), ratios(rate, "direct")
    rows = [
        [name, slower[name], statistics.median(latency[name]), faster[name], statistics.median(rate[name])]
        for name in MODES
    ]
    columns = ("", "p50 : direct", "p50 ms", "rate : direct", "calls/s")
    note = "Unary; latency one call after the other, rate with 16 in flight."
    return [Table("modes", "Directly, through Envoys, with all that a mesh does", columns, _rounded(rows), note)]


async def single_steps(_: Scale) -> list[Table]:
    """Steps of a call without any network."""
    return [steps()]


@contextmanager
def _mesh(*options: str) -> Iterator[str]:
    """The target of a mesh of its own."""
    with tempfile.TemporaryDirectory(prefix="m-", dir="/tmp") as folder:
        state = Path(folder) / "mesh"
        ports = ("--port", "0", "--pages-port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0")
        _python("-m", "mesh", "up", "--state", str(state), *ports, *options)
        try:
            yield json.loads((state / "mesh.json").read_text())["target"]
        finally:
            _python("-m", "mesh", "down", "--state", str(state))


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


SETTINGS: dict[str, dict[str, str]] = {
    "all on": {},
    "logs off": {"log_format": "off"},
    "hop records off": {"hop_records": "off"},
    "propagation off": {"propagate": "none"},
    "all off": {"log_format": "off", "hop_records": "off", "propagate": "none"},
}


async def settings(scale: Scale) -> list[Table]:
    """Two talk hops with each of their duties off, unary."""
    with ExitStack() as stack:
        chains = {name: stack.enter_context(chain(name, talk_hop, 2, **off)) for name, off in SETTINGS.items()}
        chains["bare forwarder"] = stack.enter_context(chain("bare", bare_hop))
        cpu = await interleaved({name: partial(_unary_cpu, one) for name, one in chains.items()}, scale.rounds)
    to_bare, to_all = ratios(cpu, "bare forwarder"), ratios(cpu, "all on")
    rows = [[name, to_all[name], to_bare[name], statistics.median(values)] for name, values in cpu.items()]
    columns = ("", "CPU : all on", "CPU : bare", "CPU µs per call and hop")
    return [Table("settings", "Logs, hop records and propagation, each alone", columns, _rounded(rows))]


async def interceptors(scale: Scale) -> list[Table]:
    """Two hops whose headers go on in each way, unary."""
    with ExitStack() as stack:
        chains = {way: stack.enter_context(chain("way", make)) for way, make in headers_by.hops().items()}
        cpu = await interleaved({way: partial(_unary_cpu, one) for way, one in chains.items()}, 2 * scale.rounds)
    to_hand, to_none = ratios(cpu, "by hand"), ratios(cpu, "not at all")
    rows = [[way, to_hand[way], to_none[way], statistics.median(values)] for way, values in cpu.items()]
    columns = ("headers go on", "CPU : by hand", "CPU : not at all", "CPU µs per call and hop")
    note = "Five headers. What is more by hand than not at all is their way on the wire, which both ways pay."
    return [Table("interceptors", "Interceptors of the library, unary, grpc.aio", columns, _rounded(rows), note)]


async def in_other_languages(scale: Scale) -> list[Table]:
    """The guide's examples in our place, unary."""
    with peers.running() as chains:
        found = await peers.compare(chains, scale.rounds)
    rows = [[name, one.cpu_us, one.cpu_to_bare, one.per_second, one.rss_mb] for name, one in found.items()]
    columns = ("each hop", "CPU µs per call and hop", "CPU : bare", "calls/s", "RSS MB of a hop")
    note = (
        "Two such hops in front of the same last one, unary, 16 calls in flight. Only talk writes hop records and a "
        "log line for each call; the examples pass headers, time, status and trailers on, the bare forwarder less."
    )
    return [Table("peers", "Hops in other languages, in the same chain", columns, _rounded(rows), note)]


async def _unary_cpu(running: RunningChain) -> float:
    return (await hop.measure(running, hop.unary)).cpu_us


async def growth(scale: Scale) -> list[Table]:
    """What more of something costs: hops, calls at once, bytes, headers, messages."""
    return [await _hops(scale), *await _one_chain(scale)]


async def _hops(scale: Scale) -> Table:
    counts = (1, 2, 3, 5, 8)
    with ExitStack() as stack:
        chains = {
            str(count): stack.enter_context(chain(str(count), talk_hop, forwarders=count - 1)) for count in counts
        }
        latency = await interleaved(
            {name: partial(p50_ms, one.target, scale.calls) for name, one in chains.items()}, scale.rounds
        )
    slower = ratios(latency, "1")
    rows = [[count, statistics.median(latency[str(count)]), slower[str(count)]] for count in counts]
    return Table("growth-hops", "Hops in the chain", ("hops", "p50 ms", "p50 : 1 hop"), _rounded(rows), plotted=(1,))


async def _one_chain(scale: Scale) -> list[Table]:
    with chain("growth", talk_hop, propagate_also="x-bench-*") as running:
        target = running.target
        return [
            await _concurrency(target, scale),
            await _sizes(target, scale),
            await _headers(target, scale),
            *[await _streams(running, scale, name) for name in ("server stream", "bidirectional stream")],
        ]


async def _concurrency(target: str, scale: Scale) -> Table:
    counts = (1, 4, 16, 64, 256)
    rate = await interleaved(
        {str(c): partial(calls_per_second, target, max(scale.calls, 2 * c), c) for c in counts}, scale.rounds
    )
    rows = [[c, statistics.median(rate[str(c)]), ratios(rate, "1")[str(c)]] for c in counts]
    columns = ("calls in flight", "calls/s", "rate : 1 in flight")
    return Table("growth-concurrency", "Calls in flight, three hops", columns, _rounded(rows), plotted=(1,))


async def _sizes(target: str, scale: Scale) -> Table:
    sizes = (100, 1_000, 10_000, 100_000, 1_000_000)
    latency = await interleaved(
        {str(size): partial(p50_ms, target, scale.calls // 2, _request(size)) for size in sizes}, scale.rounds
    )
    rows = [[size, statistics.median(latency[str(size)]), ratios(latency, "100")[str(size)]] for size in sizes]
    columns = ("request bytes", "p50 ms", "p50 : 100 bytes")
    return Table("growth-bytes", "Size of a unary request, three hops", columns, _rounded(rows), plotted=(1,))


async def _headers(target: str, scale: Scale) -> Table:
    counts = (1, 5, 15, 30, 60)
    latency = await interleaved(
        {str(count): partial(p50_ms, target, scale.calls, headers=_some(count)) for count in counts}, scale.rounds
    )
    rows = [[count, statistics.median(latency[str(count)]), ratios(latency, "1")[str(count)]] for count in counts]
    columns = ("headers forwarded", "p50 ms", "p50 : 1 header")
    return Table("growth-headers", "Headers that go on, three hops", columns, _rounded(rows), plotted=(1,))


def _some(count: int) -> Headers:
    return [(f"x-bench-{number}", "v" * 32) for number in range(count)]


async def _streams(running: RunningChain, scale: Scale, name: str) -> Table:
    rows = []
    load = hop.server_stream if name == "server stream" else hop.bidirectional
    for length in scale.streams:
        watching = asyncio.create_task(_highest_rss(running))
        sample = await hop.measure(running, partial(load, messages=length))
        watching.cancel()
        rows.append([length, sample.per_second, await watching / 1e6])
    columns = ("messages", "messages/s", "highest RSS of a forwarding hop, MB")
    title = f"Length of a {name}, three hops"
    return Table(f"growth-{name.partition(' ')[0]}", title, columns, _rounded(rows), plotted=(1, 2))


async def _highest_rss(running: RunningChain) -> int:
    """Until cancelled."""
    highest = 0
    try:
        while True:
            highest = max(highest, *running.rss_bytes())
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return max(highest, *running.rss_bytes())


async def start(scale: Scale) -> list[Table]:
    """From nothing to something that answers."""
    steps = {
        "one service, to its first answer": _service,
        "mesh up, all ready": _up,
        "mesh up, verdict of all four RPCs, down": _verdict,
    }
    rows = []
    for name, step in steps.items():
        times = [step() for _ in range(scale.rounds)]
        rows.append([name, statistics.median(times), min(times), max(times)])
    return [Table("start", "Starting", ("", "median s", "fastest s", "slowest s"), _rounded(rows))]


def _service() -> float:
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        began = time.perf_counter()
        with started(last_hop(f"unix:{folder}/svc3"), Path(folder) / "log"):
            options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
            with grpc.insecure_channel(f"unix:{folder}/svc3", options=options) as channel:
                talk: Any = channel.unary_unary(hop.method("Talk"))
                talk(_request(), wait_for_ready=True, timeout=30)
                return time.perf_counter() - began


def _up() -> float:
    began = time.perf_counter()
    with _mesh():
        return time.perf_counter() - began


def _verdict() -> float:
    began = time.perf_counter()
    with _mesh() as target:
        _python("-m", "client", "call", "--target", target)
    return time.perf_counter() - began


def _rounded(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[round(cell, 3) if isinstance(cell, float) else cell for cell in row] for row in rows]


async def wholeness(scale: Scale) -> list[Table]:
    """What judging each call costs a load."""
    found = await load.judging(pairs=25 * scale.rounds)
    rows: list[list[Cell]] = [
        [rpc, round(one.cpu_ratio, 3), round(one.rate_ratio, 3), round(one.cpu_us, 1)] for rpc, one in found.items()
    ]
    columns = ("", "CPU, judging : not", "rate, judging : not", "CPU µs per call")
    note = "The requester alone, over three hops, 16 calls in flight. Medians over pairs of stretches of 0.15 s."
    return [Table("wholeness", "A load that judges each call, and one that does not", columns, rows, note)]


async def trace_page(scale: Scale) -> list[Table]:
    """How the store's page of a long trace feels."""
    # Playwright's calls wait, and have a loop of their own.
    found = await asyncio.to_thread(pages.measured, scale.rounds)
    note = (
        f"A trace of {pages.SPANS:,} spans in a store that has just started; by the trace of Chromium, 1280 by 900. ms"
    )
    columns = ("", "median", f"worst of {scale.rounds}")
    return [Table("trace-page", "The page of one long trace", columns, pages.rows(found), note)]


PARTS: dict[str, Callable[[Scale], Awaitable[list[Table]]]] = {
    "hop": hop_cost,
    "steps": single_steps,
    "modes": modes,
    "settings": settings,
    "interceptors": interceptors,
    "peers": in_other_languages,
    "growth": growth,
    "start": start,
    "wholeness": wholeness,
    "trace-page": trace_page,
}
