"""Hops in other languages and in Python's other API, beside ours: the guide's examples as hops of the same chain."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.chains import Hop, RunningChain, bare_hop, chain, talk_hop
from bench.hop import Sample, measure, unary
from scripts.examples import KINDS, Command, MissingError

EXAMPLES: Final = {
    "Python, sync example": "sync",
    "Python, grpc.aio example": "aio",
    "Go example": "go",
    "Java example": "java",
    "Node.js example": "node",
}
_OURS: Final = {"talk": talk_hop, "bare forwarder": bare_hop}
_WARMING: Final = 15
"""Slices of 320 calls that each chain gets first: Java compiles what runs often."""


@dataclass(frozen=True)
class Peer:
    """Medians over slices: CPU in µs per call and hop, calls a second, MB of one hop once the load is over."""

    cpu_us: float
    cpu_to_bare: float
    per_second: float
    rss_mb: float


async def compare(chains: dict[str, RunningChain], rounds: int) -> dict[str, Peer]:
    """Slices of the unary load run back to back, in an order that turns."""
    for running in chains.values():
        for _ in range(_WARMING):
            await measure(running, unary)
    taken: dict[str, list[Sample]] = {name: [] for name in chains}
    for turn in range(rounds):
        for name in list(chains)[:: 1 if turn % 2 else -1]:
            taken[name].append(await measure(chains[name], unary))
    return {name: _peer(chains[name], taken[name], taken["bare forwarder"]) for name in chains}


def _peer(running: RunningChain, samples: list[Sample], bare: list[Sample]) -> Peer:
    median = statistics.median
    return Peer(
        cpu_us=median(one.cpu_us for one in samples),
        cpu_to_bare=median(one.cpu_us / other.cpu_us for one, other in zip(samples, bare, strict=True)),
        per_second=median(one.per_second for one in samples),
        rss_mb=median(running.rss_bytes()) / 1e6,
    )


@contextmanager
def running() -> Iterator[dict[str, RunningChain]]:
    """A chain of each kind, two forwarding hops in front of the same last one; what cannot run is told and left out."""
    with ExitStack() as stack:
        chains = {name: stack.enter_context(chain(name, make)) for name, make in _OURS.items()}
        for name, kind in EXAMPLES.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-")))
            try:
                command = KINDS[kind](folder)
            except MissingError as missing:
                print(f"left out: {name}: {missing}", file=sys.stderr, flush=True)
                continue
            chains[name] = stack.enter_context(chain(name, partial(_hop, command)))
        yield chains


def _hop(command: Command, listen: str, next_hop: str) -> Hop:
    return Hop(command, {"listen": listen, "next_hop": next_hop})
