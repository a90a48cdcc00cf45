"""Chains to measure: processes on Unix sockets, with the CPU time that each one has used."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import psutil

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Hop:
    """How one hop is started: a command, and its TALK_* settings."""

    command: Sequence[str | Path]
    settings: Mapping[str, str] | None = None
    checkout: Path = ROOT


@dataclass(frozen=True)
class RunningChain:
    name: str
    target: str
    forwarders: Sequence[psutil.Process]
    """The hops that forward; the last one, which answers, is the same in every chain."""

    def cpu_seconds(self) -> float:
        """User and system time that the forwarding hops have used so far."""
        return sum(_cpu_seconds(process) for process in self.forwarders)

    def rss_bytes(self) -> list[int]:
        return [int(process.memory_info().rss) for process in self.forwarders]


def talk_hop(listen: str, next_hop: str, python: str = sys.executable, checkout: Path = ROOT, **settings: str) -> Hop:
    return Hop((python, "-m", "svc2"), {"listen": listen, "next_hop": next_hop, **settings}, checkout)


def bare_hop(listen: str, next_hop: str) -> Hop:
    return Hop(module("bench.bare", listen, next_hop))


def module(name: str, *arguments: str) -> Sequence[str]:
    """The command that runs a module with this interpreter."""
    return (sys.executable, "-m", name, *arguments)


def last_hop(listen: str) -> Hop:
    return Hop(module("svc3"), {"listen": listen})


def _cpu_seconds(process: psutil.Process) -> float:
    # Where the scheduler's own account is there: it counts nanoseconds, cpu_times() hundredths of a second.
    accounts = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if accounts:
        return sum(int(account.read_text().split()[0]) for account in accounts) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def started(hop: Hop, log: Path) -> Iterator[psutil.Process]:
    settings = {f"TALK_{key.upper()}": value for key, value in (hop.settings or {}).items()}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            hop.command,
            cwd=hop.checkout,
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def chain(name: str, make_hop: object, forwarders: int = 2, **settings: Any) -> Iterator[RunningChain]:
    """`forwarders` hops made by `make_hop` (`talk_hop` or `bare_hop`) in front of one that answers, all ready."""
    assert callable(make_hop)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hop-")))
        sockets = [f"unix:{folder}/{index}" for index in range(forwarders + 1)]
        stack.enter_context(started(last_hop(sockets[-1]), folder / "last.log"))
        processes = [
            stack.enter_context(started(make_hop(listen, following, **settings), folder / f"{index}.log"))
            for index, (listen, following) in enumerate(pairwise(sockets))
        ]
        for socket in sockets:
            _wait_ready(socket)
        yield RunningChain(name, sockets[0], processes)


def _wait_ready(target: str) -> None:
    with grpc.insecure_channel(target, options=[("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        grpc.channel_ready_future(channel).result(timeout=_START_SECONDS)


def machine() -> dict[str, object]:
    """What a figure depends on, to stand beside it."""
    return {
        "python": sys.version.split()[0],
        "grpcio": grpc.__version__,
        "cores": psutil.cpu_count(),
        "load_before": [round(one, 2) for one in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
