"""What a worker measured: plain sums and latencies that travel between processes and add up."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from client.load.paths import PathSums, Record, links, stretches


def _latencies() -> defaultdict[str, array[int]]:
    return defaultdict(_microseconds)


def _microseconds() -> array[int]:
    return array("Q")


@dataclass
class Tally:
    """Calls of one worker, or of several added up.

    `latencies` are of successful calls, by RPC, in µs; from the intended start where there is one. `lateness` is how
    late calls were begun, in µs. `paths` is what hop records show, by RPC and by the services that left one.
    """

    latencies: defaultdict[str, array[int]] = field(default_factory=_latencies)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    lateness: array[int] = field(default_factory=_microseconds)
    unstarted: int = 0
    paths: dict[tuple[str, tuple[str, ...]], PathSums] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        return sum(map(len, self.latencies.values())) + self.errors.total()

    def succeeded(self, rpc: str, microseconds: int, answers: int) -> None:
        self.latencies[rpc].append(microseconds)
        self.answers[rpc] += answers

    def failed(self, rpc: str, status: str) -> None:
        self.errors[rpc, status] += 1

    def read(self, rpc: str, hops: Sequence[Record], took: int) -> None:
        """Adds what the records of a call show: where its `took` µs went, and at which links its trace went on."""
        if hops:
            sums = self._along(rpc, tuple([hop.service for hop in hops]))
            sums.time(hops, took)
            sums.judge(hops)

    def whole(self, rpc: str, services: tuple[str, ...]) -> None:
        """Adds a call whose trace went on at each link of its path."""
        self._along(rpc, services).judged += 1

    def _along(self, rpc: str, services: tuple[str, ...]) -> PathSums:
        sums = self.paths.get((rpc, services))
        if sums is None:
            sums = self.paths[rpc, services] = PathSums.along(services)
        return sums

    @property
    def timed(self) -> int:
        """The calls whose records tell where their time went."""
        return sum(sums.timed for sums in self.paths.values())

    @property
    def parts(self) -> Counter[str]:
        """The time in µs that the timed calls spent in each hop and between them."""
        found: Counter[str] = Counter()
        for (_, services), sums in self.paths.items():
            if sums.timed:
                found.update(dict(zip(stretches(services), sums.spent, strict=True)))
        return found

    @property
    def judged(self) -> Counter[tuple[str, str]]:
        """Calls by RPC and link of which the records show whether the trace went on there."""
        return self._by_link(lambda sums: [sums.judged] * len(sums.torn))

    @property
    def torn(self) -> Counter[tuple[str, str]]:
        """Those of the judged calls whose trace did not go on."""
        return self._by_link(lambda sums: sums.torn)

    def _by_link(self, counts: Callable[[PathSums], list[int]]) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for (rpc, services), sums in self.paths.items():
            if sums.judged:
                for link, count in zip(links(services), counts(sums), strict=True):
                    found[rpc, link] += count
        return found

    def add(self, other: Tally) -> None:
        for rpc, latencies in other.latencies.items():
            self.latencies[rpc].extend(latencies)
        self.errors.update(other.errors)
        self.answers.update(other.answers)
        self.lateness.extend(other.lateness)
        self.unstarted += other.unstarted
        for path, sums in other.paths.items():
            self.paths.setdefault(path, PathSums.along(path[1])).add(sums)
