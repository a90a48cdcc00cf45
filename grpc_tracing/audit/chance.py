"""Do calls out follow calls in, or do they meet by chance? A permutation test of a cross-correlation.

How many calls are in at the moment of each call out is held against how many are in at the same moments shifted by
random offsets. A call out that follows a call in meets one call more than chance has it, however busy the pod is: so
the difference is the share that follows, times the share of calls in that were sampled.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SHIFTS: Final = 100
_MOST_MOMENTS: Final = 5_000
"""Moments of one instance that are counted; more are thinned out evenly."""
_SEED: Final = 20_261_127
_SHORTEST, _LONGEST = 50_000_000, 10_000_000_000
"""Offsets in ns: far enough to leave the call that was in, near enough to see the same load."""


@dataclass(frozen=True)
class Held:
    """Calls in of one instance: starts and ends in ns, each sorted by itself."""

    starts: Sequence[int]
    ends: Sequence[int]
    typical_ns: int
    """A long call in: 95 of 100 are shorter."""

    def at(self, moment: int) -> int:
        """How many calls are in at that moment."""
        return bisect_right(self.starts, moment) - bisect_left(self.ends, moment)


@dataclass(frozen=True)
class Met:
    """How many calls were in over all moments, and what chance gives: mean and variance of the same sum."""

    moments: int = 0
    seen: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, other: Met) -> Met:
        return Met(
            self.moments + other.moments,
            self.seen + other.seen,
            self.mean + other.mean,
            self.variance + other.variance,
        )

    @property
    def deviation(self) -> float:
        """Never below the deviation of a count, so that few shifts that met nothing prove nothing."""
        return math.sqrt(max(self.variance, self.mean, 0.25))

    @property
    def z(self) -> float:
        return (self.seen - self.mean) / self.deviation if self.moments else 0.0

    @property
    def share(self) -> float:
        """The share of the moments that follow a call in beyond chance, times the sampling of the calls in."""
        return (self.seen - self.mean) / self.moments if self.moments else 0.0

    @property
    def share_error(self) -> float:
        return self.deviation / self.moments if self.moments else 1.0

    @property
    def p(self) -> float:
        """The chance of as many or more: a Poisson tail, widened where the shifts vary more than a count does."""
        if self.seen <= self.mean:
            return 1.0
        wide = max(1.0, self.variance / self.mean) if self.mean else 1.0
        return poisson_tail(self.seen / wide, max(self.mean, 0.05) / wide)


def held(starts: Sequence[int], ends: Sequence[int]) -> Held:
    """Sorts both; the two need not be in one order."""
    lengths = sorted(end - start for start, end in zip(starts, ends, strict=True))
    typical = lengths[int(len(lengths) * 0.95)] if lengths else 0
    return Held(sorted(starts), sorted(ends), typical)


def meet(calls: Held, moments: Sequence[int], window: tuple[int, int]) -> Met:
    """Of one instance, so one clock. Shifts wrap around in the window, ns from and to."""
    low, high = window
    if high <= low or not calls.starts or not moments:
        return Met(len(moments))
    chosen = _thinned(moments)
    scale = len(moments) / len(chosen)
    seen = sum(map(calls.at, chosen))
    sums = [
        sum(calls.at(low + (one + offset - low) % (high - low)) for one in chosen) for offset in _offsets(calls, window)
    ]
    mean = sum(sums) / len(sums)
    variance = sum((one - mean) ** 2 for one in sums) / (len(sums) - 1)
    return Met(len(moments), seen * scale, mean * scale, variance * scale * scale)


def _thinned(moments: Sequence[int]) -> Sequence[int]:
    return moments[:: -(-len(moments) // _MOST_MOMENTS)]


def _offsets(calls: Held, window: tuple[int, int]) -> list[int]:
    width = window[1] - window[0]
    least = min(max(2 * calls.typical_ns, _SHORTEST), width // 8)
    most = min(max(_LONGEST, 20 * least), width // 2)
    chance = random.Random(_SEED)  # noqa: S311 - the same spans give the same verdict
    return [chance.choice((-1, 1)) * chance.randint(least, max(least, most)) for _ in range(SHIFTS)]


def poisson_tail(count: float, mean: float) -> float:
    """P(X >= count) for a Poisson variable, by its upper bound where the sum would be long."""
    if count <= mean:
        return 1.0
    if count > 1000:  # Chernoff's bound, on the safe side
        return math.exp(max(-700.0, count - mean - count * math.log(count / mean)))
    whole = math.floor(count)
    term = math.exp(whole * math.log(mean) - mean - math.lgamma(whole + 1))
    total, step = 0.0, whole
    while term > total * 1e-12 and step < whole + 2000:
        total += term
        step += 1
        term *= mean / step
    return min(1.0, total)


def significant(chances: Sequence[float], rate: float) -> list[bool]:
    """Benjamini-Hochberg: which of these stand, at a false discovery rate of `rate`."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    most = max((rank for rank, index in enumerate(order, 1) if chances[index] <= rate * rank / len(chances)), default=0)
    kept = set(order[:most])
    return [index in kept for index in range(len(chances))]
