"""The figures of a load, from what was measured."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from client.load.tally import Tally
from client.options import LoadOptions
from grpc_tracing.evidence.notes import Note, note

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_BUSY = 0.85  # share of a core from which a worker process is the limit
_LATE = 5_000  # µs at the 99th percentile from which starts are no longer what was asked for


@dataclass(frozen=True)
class Latency:
    """Latencies in ms: `percentiles` by `PERCENTILES`."""

    percentiles: tuple[float, ...]
    mean: float
    highest: float


def latency(microseconds: Iterable[int]) -> Latency:
    """Sums up latencies, exactly; all zero without any."""
    counts = Counter(microseconds)
    if not counts:
        return Latency((0.0,) * len(PERCENTILES), mean=0.0, highest=0.0)
    return Latency(
        percentiles=tuple(value / 1000 for value in _percentiles(counts)),
        mean=sum(value * count for value, count in counts.items()) / counts.total() / 1000,
        highest=max(counts) / 1000,
    )


def _percentiles(counts: Counter[int]) -> Iterator[int]:
    """By nearest rank: for each of PERCENTILES the lowest value that so many percent of all do not exceed."""
    values = sorted(counts)
    up_to = list(accumulate(counts[value] for value in values))
    for one in PERCENTILES:
        yield values[bisect_left(up_to, one * up_to[-1] / 100)]


@dataclass(frozen=True)
class Figures:
    """One RPC's figures, or all RPCs' together; rates per second."""

    calls: int
    calls_per_s: float
    answers_per_s: float
    errors: Counter[str]
    latency: Latency


@dataclass(frozen=True)
class LoadResult:
    """What a load took: `seconds` from its start to its last answer, a share of a core for each worker process."""

    options: LoadOptions
    tally: Tally
    seconds: float
    cpu_shares: tuple[float, ...]
    interrupted: bool = False

    @property
    def rpcs(self) -> list[str]:
        return list(dict.fromkeys(self.options.mix))

    def figures(self, rpc: str) -> Figures:
        errors = Counter({status: count for (name, status), count in self.tally.errors.items() if name == rpc})
        return self._figures(self.tally.latencies.get(rpc, ()), self.tally.answers[rpc], errors)

    def total(self) -> Figures:
        errors: Counter[str] = Counter()
        for (_, status), count in self.tally.errors.items():
            errors[status] += count
        latencies = [value for values in self.tally.latencies.values() for value in values]
        return self._figures(latencies, self.tally.answers.total(), errors)

    def _figures(self, latencies: Any, answers: int, errors: Counter[str]) -> Figures:
        return Figures(
            calls=len(latencies) + errors.total(),
            calls_per_s=len(latencies) / self.seconds,
            answers_per_s=answers / self.seconds,
            errors=errors,
            latency=latency(latencies),
        )

    def parts(self) -> list[tuple[str, float, float]]:
        """Where the time of a call goes: name, share of it, mean in ms; empty without hop records."""
        whole, calls = self.tally.parts.total(), self.tally.timed
        return [(name, part / whole, part / calls / 1000) for name, part in self.tally.parts.items() if whole]

    def wholeness(self) -> dict[str, dict[str, float]]:
        """By RPC and link, the share of calls whose trace went on there; a link that no record shows is missing."""
        found: dict[str, dict[str, float]] = {}
        for (rpc, link), count in self.tally.judged.items():
            found.setdefault(rpc, {})[link] = 1 - self.tally.torn[rpc, link] / count
        return found

    @property
    def broken(self) -> bool:
        """Whether the trace of a call was torn."""
        return bool(self.tally.torn.total())

    @property
    def limits(self) -> list[Note]:
        """Where the load was not what was asked for, or the requester was the limit: a line each."""
        return [*self._own_limits(), *self._others()]

    def _own_limits(self) -> list[Note]:
        busiest = max(self.cpu_shares, default=0.0)
        lateness = latency(self.tally.lateness).percentiles[PERCENTILES.index(99.0)]
        if busiest >= _BUSY:
            more = len(self.cpu_shares) + 1
            return [note("requester-busy", share=f"{busiest:.0%}", more=more)]
        if lateness * 1000 >= _LATE:
            return [note("begun-late", late=f"{lateness:.1f}")]
        return []

    def _others(self) -> list[Note]:
        if self.tally.unstarted:
            return [note("never-begun", count=self.tally.unstarted, bound=self.options.concurrency)]
        return []


def document(result: LoadResult) -> dict[str, Any]:
    """The result as the one JSON object of `--json`; times in ms."""
    options, total = result.options, result.total()
    return {
        "target": options.target.address,
        "loop": "closed" if options.rate is None else "open",
        "rate": options.rate,
        "concurrency": options.concurrency,
        "seconds": round(result.seconds, 3),
        "interrupted": result.interrupted,
        **_figures(total),
        "rpcs": {rpc: _figures(result.figures(rpc)) for rpc in result.rpcs},
        "parts": [
            {"part": name, "share": round(share, 4), "mean_ms": round(mean, 3)} for name, share, mean in result.parts()
        ],
        "wholeness": {
            rpc: {link: round(share, 5) for link, share in links.items()} for rpc, links in result.wholeness().items()
        },
        "processes": len(result.cpu_shares),
        "cpu_shares": [round(share, 3) for share in result.cpu_shares],
        "unstarted": result.tally.unstarted,
        "limits": result.limits,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    latency = figures.latency
    named = {f"p{one:g}": value for one, value in zip(PERCENTILES, latency.percentiles, strict=True)}
    return {
        "calls": figures.calls,
        "calls_per_s": round(figures.calls_per_s, 3),
        "answers_per_s": round(figures.answers_per_s, 3),
        "errors": dict(figures.errors),
        "latency_ms": named | {"mean": round(latency.mean, 3), "max": latency.highest},
    }
