"""All traces folded by call path: a tree of paths with how much there was of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grpc_tracing.store.chosen import Chosen, Group, Path, by_path
from grpc_tracing.store.listing import path_text
from grpc_tracing.store.stats import Load, percentile

_STEPS: Final = (1, 2, 5)
# With more decades than this, a bucket is a whole one.
_MOST_DECADES: Final = 5


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls that lasted at least `low_ns` and less than `high_ns`; `height` is the part of the row's fullest bucket."""

    low_ns: int
    high_ns: int
    count: int
    height: float


@dataclass(frozen=True, slots=True)
class PathRow:
    """One call path: its last edge's load, its depth in the tree of paths, and its share of all the time measured.

    `cut`: the path begins at a piece that was cut off from its caller. `own_p50_ns` and `own_p95_ns` are of the time
    without the calls made below. `buckets` are the same for all rows of a page.
    """

    path: tuple[str, ...]
    cut: bool
    depth: int
    load: Load
    share: float
    own_p50_ns: int
    own_p95_ns: int
    buckets: tuple[Bucket, ...]

    @property
    def text(self) -> str:
        """As a link spells it."""
        return path_text(self.path, cut=self.cut)


def paths(chosen: Chosen) -> tuple[PathRow, ...]:
    """A path before those that go on from it, the busiest first, cut-off ones last."""
    found = by_path(chosen)
    total = sum(one.load.own_ns for one in found.values()) or 1
    bounds = _bounds(found.values())
    ordered = sorted(found, key=lambda path: (path.cut, _rank(path, found)))
    return tuple(_row(path, found[path], total, bounds) for path in ordered)


def _row(path: Path, group: Group, total: int, bounds: npt.NDArray[Any]) -> PathRow:
    return PathRow(
        path.nodes,
        path.cut,
        len(path.nodes) - 2,
        group.load,
        group.load.own_ns / total,
        percentile(group.owns, 50),
        percentile(group.owns, 95),
        _buckets(group, bounds),
    )


def _rank(path: Path, found: Mapping[Path, Group]) -> list[tuple[int, str]]:
    prefixes = [Path(path.nodes[:length], path.cut) for length in range(1, len(path.nodes) + 1)]
    return [(-found[one].load.count if one in found else 0, one.nodes[-1]) for one in prefixes]


def _bounds(found: Any) -> npt.NDArray[Any]:
    """Where buckets begin and end: at 1, 2 and 5 of each decade in which a call lies."""
    shortest = min((int(one.durations[0]) for one in found), default=1)
    longest = max((int(one.durations[-1]) for one in found), default=1)
    first, last = len(str(max(1, shortest))) - 1, len(str(max(1, longest))) - 1
    steps = _STEPS if last - first < _MOST_DECADES else _STEPS[:1]
    bounds = [step * 10**decade for decade in range(first, last + 2) for step in steps]
    low = max((one for one in bounds if one <= shortest), default=0)
    high = next(one for one in bounds if one > longest)
    return np.array(
        [one for one in bounds if low <= one <= high] if low else [0, *(one for one in bounds if one <= high)]
    )


def _buckets(group: Group, bounds: npt.NDArray[Any]) -> tuple[Bucket, ...]:
    places = np.searchsorted(group.durations, bounds)
    counts = [int(after - before) for before, after in pairwise(places)]
    most = max(counts, default=0) or 1
    edges = pairwise(int(one) for one in bounds)
    return tuple(Bucket(low, high, count, count / most) for (low, high), count in zip(edges, counts, strict=True))
