"""Calls counted: latencies, errors and rates of edges and of call paths."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from grpc_tracing.spans.tree import Edge
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import TraceStatus

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Load:
    """Calls along one edge; times in nanoseconds. `seen` is False where the callee never left a span.

    A call that was tried again counts once, with the time of all its attempts; `retries` are those before the last.
    `began` are the errors that no call below caused: the others are carried on from there.
    """

    count: int
    errors: int
    began: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    own_ns: int
    seen: bool
    retries: int

    @property
    def error_rate(self) -> float:
        return self.errors / self.count


def load(edges: Iterable[Edge]) -> Load:
    """At least one edge."""
    calls = list(edges)
    durations = sorted(edge.duration_ns for edge in calls)
    return Load(
        count=len(calls),
        errors=sum(edge.error for edge in calls),
        began=sum(edge.error and edge.began for edge in calls),
        p50_ns=percentile(durations, 50),
        p95_ns=percentile(durations, 95),
        p99_ns=percentile(durations, 99),
        own_ns=sum(edge.own_ns for edge in calls),
        seen=any(edge.seen for edge in calls),
        retries=sum(edge.retries for edge in calls),
    )


def percentile(ordered: list[int], percent: int) -> int:
    """By nearest rank, which is always a value that was measured."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def by_key(pairs: Iterable[tuple[K, Edge]]) -> dict[K, Load]:
    """The load of each group of edges, in the order of the groups' first edges."""
    groups: dict[K, list[Edge]] = defaultdict(list)
    for key, edge in pairs:
        groups[key].append(edge)
    return {key: load(edges) for key, edges in groups.items()}


@dataclass(frozen=True, slots=True)
class PathRow:
    """One call path: its last edge's load, its depth in the tree of paths, and its share of all the time measured.

    `cut`: the path begins at a piece that was cut off from its caller.
    """

    path: tuple[str, ...]
    cut: bool
    depth: int
    load: Load
    share: float


# A path, and whether it begins at a piece that was cut off.
_Place = tuple[bool, tuple[str, ...]]


def paths(summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> tuple[PathRow, ...]:
    """All traces folded by call path, a path before those that go on from it, the busiest first, cut-off ones last."""
    loads = by_key(_placed(summaries, statuses))
    total = sum(one.own_ns for one in loads.values()) or 1
    ordered = sorted(loads, key=lambda place: (place[0], _rank(place, loads)))
    return tuple(
        PathRow(path, cut, len(path) - 2, loads[cut, path], loads[cut, path].own_ns / total) for cut, path in ordered
    )


def _placed(summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> Iterator[tuple[_Place, Edge]]:
    for summary in summaries:
        cut = statuses[summary.trace_id].cut
        yield from (((cut[edge.piece], edge.path), edge) for edge in summary.edges)


def _rank(place: _Place, loads: dict[_Place, Load]) -> list[tuple[int, str]]:
    cut, path = place
    prefixes = [path[:length] for length in range(1, len(path) + 1)]
    return [(-loads[cut, prefix].count if (cut, prefix) in loads else 0, prefix[-1]) for prefix in prefixes]
