"""What processes hold over time: memory, open files, threads; and whether it grows."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psutil

# gRPC's thread pool takes on threads while work waits, and lets idle ones go.
_POOL = 4


class Holding(NamedTuple):
    """What one process holds at one moment; rss in bytes."""

    rss: float
    files: float
    threads: float


@dataclass(frozen=True)
class Growth:
    """A process's holdings, as medians: over the stretch after it has settled, and over the last one."""

    settled: Holding
    end: Holding

    @property
    def rss_percent(self) -> float:
        return 100 * (self.end.rss / self.settled.rss - 1)

    def complaints(self, *, memory: bool) -> list[str]:
        """What grew. memory: RSS counts too."""
        found = [f"RSS grew by {self.rss_percent:.1f} %"] if memory and self.rss_percent >= 5 else []
        for name, more in (("files", 0), ("threads", _POOL)):
            before, after = getattr(self.settled, name), getattr(self.end, name)
            if after > before + more:
                found.append(f"{name} grew from {before:g} to {after:g}")
        return found


class Watch:
    """Samples processes, by name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._samples: list[tuple[float, dict[str, Holding]]] = []
        self._began = time.monotonic()

    def sample(self) -> None:
        """psutil.NoSuchProcess where one has ended."""
        holdings = {name: _holding(process) for name, process in self._processes.items()}
        self._samples.append((time.monotonic() - self._began, holdings))

    def growth(self, settled: float, stretch: float) -> dict[str, Growth]:
        """By process, from the stretch (s) that begins `settled` s after the start to the last one."""
        first = [held for at, held in self._samples if settled <= at < settled + stretch]
        last = [held for at, held in self._samples if at >= self._samples[-1][0] - stretch]
        return {
            name: Growth(_median([held[name] for held in first]), _median([held[name] for held in last]))
            for name in self._processes
        }


def _holding(process: psutil.Process) -> Holding:
    with process.oneshot():
        return Holding(process.memory_info().rss, process.num_fds(), process.num_threads())


def _median(holdings: Sequence[Holding]) -> Holding:
    rss, files, threads = (statistics.median(values) for values in zip(*holdings, strict=True))
    return Holding(rss, files, threads)
