"""Two runs beside each other: what changed along each call path, and whether chance would do it too."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt
from typing import Final

import numpy as np

from grpc_tracing.store.chosen import Chosen, Group, Path, by_path
from grpc_tracing.store.frame import Ints
from grpc_tracing.store.stats import Load

SURE: Final = 0.01
"""The chance, over all paths together, that a difference is called one and is none."""
FEWEST: Final = 20
"""With fewer calls in either run the normal distribution, which the tests take, is not near enough."""


@dataclass(frozen=True, slots=True)
class Change:
    """One path in both runs; None where it has no call. `time` and `errors` are words: what is shown of each."""

    path: Path
    before: Load | None
    after: Load | None
    time: str
    errors: str


def changes(before: Chosen, after: Chosen) -> tuple[Change, ...]:
    """By path."""
    first, second = by_path(before), by_path(after)
    paths = sorted({*first, *second}, key=lambda path: (path.cut, path.nodes))
    # Two questions are asked of each path: by chance alone, one of a hundred would say yes.
    bound = SURE / max(1, 2 * len(paths))
    return tuple(_change(path, first.get(path), second.get(path), bound) for path in paths)


def _change(path: Path, before: Group | None, after: Group | None, bound: float) -> Change:
    if before is None or after is None:
        word = "new" if after else "gone"
        return Change(path, before.load if before else None, after.load if after else None, word, word)
    if min(before.load.count, after.load.count) < FEWEST:
        return Change(path, before.load, after.load, "too few calls", "too few calls")
    time = _word(ranked(before.durations, after.durations), bound, ("slower", "faster"))
    errors = _word(proportions(before.load, after.load), bound, ("more", "fewer"))
    return Change(path, before.load, after.load, time, errors)


def _word(z: float, bound: float, words: tuple[str, str]) -> str:
    if erfc(abs(z) / sqrt(2)) >= bound:
        return "no difference shown"
    return words[z < 0]


def ranked(before: Ints, after: Ints) -> float:
    """The z of Mann and Whitney's test, ties counted; positive where calls take longer after. Both sorted."""
    every = np.sort(np.concatenate([before, after]))
    ranks = (np.searchsorted(every, after, "left") + np.searchsorted(every, after, "right") + 1) / 2
    first, second, total = len(before), len(after), len(every)
    _, ties = np.unique(every, return_counts=True)
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
    spread = first * second / 12 * (total + 1 - tied)
    above = float(ranks.sum()) - second * (second + 1) / 2
    return (above - first * second / 2) / sqrt(spread) if spread > 0 else 0.0


def proportions(before: Load, after: Load) -> float:
    """The z of the difference of two shares of errors; positive where more fail after."""
    share = (before.errors + after.errors) / (before.count + after.count)
    spread = share * (1 - share) * (1 / before.count + 1 / after.count)
    return (after.error_rate - before.error_rate) / sqrt(spread) if spread > 0 else 0.0
