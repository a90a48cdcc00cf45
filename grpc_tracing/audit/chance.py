"""Do calls out follow calls in, or do they meet by chance? A test by the cross-correlation of the two at one instance.

A call out that begins a trace is held against every call in nearby: by which shifts of time would the one lie within
the other? Without a shift a call out that follows a call in meets one call more than by shifts, however busy the pod
is. The difference is the share that follows, times the share of calls in that were sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
_Amounts = NDArray[Any]

_SECOND: Final = 1_000_000_000
_SHORTEST: Final = 50_000_000
"""Shifts in ns that are shorter may leave the call out within the call in that it follows."""
_SOON: Final = 10_000_000
"""A call out so many ns after a call in begins soon after it."""
_PAIRS: Final = 400_000
"""Pairs of calls of one instance that are held at a time."""
_CELLS: Final = 1 << 20
_FINEST, _COARSEST = 1024, 16
_SPARSE: Final = 0.5
_LEAST_MEAN: Final = 0.02
ALL: Final = -1
"""In a key: all targets, or all RPCs."""


class Key(NamedTuple):
    """Which calls out, by target, against which calls in, by RPC."""

    target: int
    route: int


@dataclass(frozen=True)
class Calls:
    """Calls of one instance: starts and ends in ns, and a small number each: the RPC of a call in, the target of a
    call out. Of a call in also the row of `meet`'s table that says where it goes on."""

    starts: Times
    ends: Times
    numbers: Times
    rows: Times

    def of(self, which: slice | NDArray[np.bool_] | Times) -> Calls:
        return Calls(self.starts[which], self.ends[which], self.numbers[which], self.rows[which])


@dataclass(frozen=True)
class Met:
    """How many calls in were met, and what chance gives: mean and variance of the same sum, from `pairs` pairs.

    `apart` counts a call in that is met often, or a call out that meets several, once.
    """

    moments: float = 0.0
    seen: float = 0.0
    apart: float = 0.0
    mean: float = 0.0
    variance: float = 0.0
    pairs: float = 0.0

    def __add__(self, other: Met) -> Met:
        return Met(
            self.moments + other.moments,
            self.seen + other.seen,
            self.apart + other.apart,
            self.mean + other.mean,
            self.variance + other.variance,
            self.pairs + other.pairs,
        )

    @property
    def deviation(self) -> float:
        """Never below the deviation of a count, so that shifts that met nothing prove nothing."""
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
        """The chance of as many or more: a Poisson tail, widened where shifts vary more than a count does."""
        if self.seen <= self.mean:
            return 1.0
        likely = max(self.mean * (1 + (1 + math.sqrt(self.pairs)) / max(1.0, self.pairs)), _LEAST_MEAN)
        mean = likely if self.mean < 10 else self.mean
        wide = max(1.0, self.variance / self.mean) if self.mean else 1.0
        p = poisson_tail(self.seen / wide, mean / wide)
        return max(p, poisson_tail(self.apart, mean)) if self.mean < _SPARSE * self.moments else p


@dataclass(frozen=True)
class Trial:
    """Four ways to follow a call in: begin within it, lie within it, begin soon after it began, and begin within one
    that goes on to no call out to this target."""

    within: Met = field(default_factory=Met)
    inside: Met = field(default_factory=Met)
    soon: Met = field(default_factory=Met)
    instead: Met = field(default_factory=Met)

    def __add__(self, other: Trial) -> Trial:
        return Trial(
            self.within + other.within,
            self.inside + other.inside,
            self.soon + other.soon,
            self.instead + other.instead,
        )

    @property
    def moments(self) -> float:
        return self.within.moments

    @property
    def p(self) -> float:
        return min(1.0, 4 * min(self.within.p, self.inside.p, self.soon.p, self.instead.p))

    @property
    def best(self) -> Met:
        """What tells the share: the ways with less error, unless they miss calls that begin within one.

        Calls out may outlive the calls in that they follow, and a call in of which one call out is cut may go on in
        another one.
        """
        best = self.within
        for met in (self.inside, self.instead):
            less = met.share + 2 * met.share_error < self.within.share - 2 * self.within.share_error
            if met.share_error < best.share_error and not less:
                best = met
        return best

    @property
    def z(self) -> float:
        return max(self.within.z, self.inside.z, self.soon.z, self.instead.z)


def calls(
    starts: Sequence[int], ends: Sequence[int], numbers: Sequence[int], rows: Sequence[int] | None = None
) -> Calls:
    """Sorted by start; all run in parallel."""
    begin = np.asarray(starts, dtype=np.int64)
    order = np.argsort(begin, kind="stable")
    at = np.zeros(len(begin), np.int64) if rows is None else np.asarray(rows, np.int64)
    return Calls(begin, np.asarray(ends, np.int64), np.asarray(numbers, np.int64), at).of(order)


@dataclass(frozen=True)
class _Reach:
    """Shifts run from `-most` to `most`; those shorter than `least` are left out. Calls in that are longer than
    `longest` tell nothing. All was seen within `window`."""

    least: int
    most: int
    longest: int
    window: int

    @property
    def width(self) -> int:
        return 2 * (self.most - self.least)


@dataclass(frozen=True)
class _Pairs:
    """A call out and a call in each: the cell of the key, and the shifts by which the one meets the other, first to
    last."""

    cell: Times
    out: Times
    entered: Times
    first: Times
    last: Times

    def of(self, which: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.cell[which], self.out[which], self.entered[which], self.first[which], self.last[which])


def meet(
    into: Calls, out: Calls, targets: int, routes: int, goes_on: NDArray[np.bool_] | None = None
) -> Mapping[Key, Trial]:
    """Of one instance, so one clock; the calls out all begin a trace. Nothing where too little time was seen.

    `goes_on` has a row for each of `into.rows`: to which targets such calls in go on.
    """
    if not len(into.starts) or not len(out.starts):
        return {}
    low = min(int(into.starts[0]), int(out.starts[0]))
    high = max(int(into.starts[-1]), int(out.starts[-1]))
    reach = _reach(into, out, high - low)
    if reach.least * 4 > reach.most:
        return {}
    around = _around(into, low, high, reach)
    chosen, scale = _thinned(out, around, reach)
    pairs = _pairs(around, chosen, reach, routes)
    lasts = _lasts(around, chosen, pairs, reach)
    grid = _Grid(targets, routes, reach, chosen, scale)
    keys = grid.keys(pairs)
    within, inside, soon = (grid.met(pairs, last, keys) for last in lasts)
    table = np.zeros((1, targets), bool) if goes_on is None else goes_on
    instead = _instead(around, out, table, grid, keys) if table.any() else {}
    return {key: Trial(within[key], inside[key], soon[key], instead.get(key, within[key])) for key in keys}


def _instead(
    around: Calls, out: Calls, goes_on: NDArray[np.bool_], whole: _Grid, keys: Sequence[Key]
) -> dict[Key, Met]:
    """Against the calls in alone that could have made the call out: those that go on to its target made another one.

    Where most go on, few are left for chance to meet: a cut of few calls shows in a pod that is always busy.
    """
    left = around.of(~np.all(goes_on, axis=1)[around.rows])
    chosen, scale = _thinned(out, left, whole.reach)
    pairs = _pairs(left, chosen, whole.reach, whole.routes)
    able = ~goes_on[left.rows[pairs.entered], chosen.numbers[pairs.out]]
    last, _, _ = _lasts(left, chosen, pairs, whole.reach)
    return _Grid(whole.targets, whole.routes, whole.reach, chosen, scale).met(pairs.of(able), last[able], keys)


def _reach(into: Calls, out: Calls, width: int) -> _Reach:
    typical = int(np.quantile(into.ends - into.starts, 0.95))
    least = max(2 * typical, _SHORTEST)
    rate = max(1, len(into.starts)) / max(1, width)
    enough = int(_PAIRS / (len(out.starts) * rate) / 3)
    most = min(max(20 * least, _SECOND), 10 * _SECOND, max(enough, 5 * least), width // 2)
    return _Reach(least, most, max(least, most // 4), width)


def _around(into: Calls, low: int, high: int, reach: _Reach) -> Calls:
    """The window goes on as if it repeated, so that a shift across its edge meets the usual load."""
    width, edge = high - low + 1, reach.most + reach.longest
    before, after = into.starts > high - edge, into.starts < low + reach.most
    return Calls(
        np.concatenate([into.starts[before] - width, into.starts, into.starts[after] + width]),
        np.concatenate([into.ends[before] - width, into.ends, into.ends[after] + width]),
        np.concatenate([into.numbers[before], into.numbers, into.numbers[after]]),
        np.concatenate([into.rows[before], into.rows, into.rows[after]]),
    )


def _thinned(out: Calls, into: Calls, reach: _Reach) -> tuple[Calls, float]:
    """Evenly, where the pairs would be too many."""
    expected = len(out.starts) * len(into.starts) / max(1, reach.window) * (2 * reach.most + reach.longest)
    step = max(1, math.ceil(expected / (3 * _PAIRS)))
    kept = out.of(slice(None, None, step))
    return kept, len(out.starts) / len(kept.starts)


def _pairs(into: Calls, out: Calls, reach: _Reach, routes: int) -> _Pairs:
    first = np.searchsorted(into.starts, out.starts - reach.most - reach.longest)
    last = np.searchsorted(into.starts, out.starts + reach.most, side="right")
    counts = last - first
    which = np.repeat(np.arange(len(counts)), counts)
    entered = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    begins = into.starts[entered] - out.starts[which]
    cell = out.numbers[which] * routes + into.numbers[entered]
    return _Pairs(cell, which, entered, begins, begins)


def _lasts(into: Calls, out: Calls, pairs: _Pairs, reach: _Reach) -> tuple[Times, Times, Times]:
    """For each way to follow, the last shift by which a pair does; before the first where none does."""
    lengths = into.ends - into.starts
    lengths = np.where(lengths <= reach.longest, lengths, -1)
    within = pairs.first + lengths[pairs.entered]
    inside = within - (out.ends - out.starts)[pairs.out]
    soon = pairs.first + np.minimum(into.ends - into.starts, _SOON)[pairs.entered]
    return within, inside, soon


@dataclass(frozen=True)
class _Grid:
    """Sums for each target and RPC, and for all of them, over a grid of shifts."""

    targets: int
    routes: int
    reach: _Reach
    out: Calls
    scale: float

    @property
    def points(self) -> int:
        return max(_COARSEST, min(_FINEST, _CELLS // (self.targets * self.routes)))

    def met(self, pairs: _Pairs, last: Times, keys: Sequence[Key]) -> dict[Key, Met]:
        met = last >= pairs.first
        some = _Pairs(pairs.cell, pairs.out, pairs.entered, pairs.first, last).of(met)
        variances = self._variances(some)
        now = some.of((some.first <= 0) & (some.last >= 0))
        means, counts = self._overlaps(some)
        sums = {"seen": self._by_cell(now.cell), "mean": means, "pairs": counts}
        found = {name: _margins(amounts) for name, amounts in sums.items()}
        moments = np.bincount(self.out.numbers, minlength=self.targets) * self.scale
        apart = self._apart(now) if len(now.cell) < 20_000 else found["seen"]
        return {key: self._one(key, moments, found, apart, variances) for key in keys}

    def keys(self, pairs: _Pairs) -> list[Key]:
        """Those of RPCs and targets that come near each other, and all that are over all RPCs."""
        near = _margins(self._by_cell(pairs.cell))
        return [key for key, count in near.items() if count or key.route == ALL]

    def _one(
        self,
        key: Key,
        moments: _Amounts,
        found: Mapping[str, Mapping[Key, float]],
        apart: Mapping[Key, float],
        variances: Mapping[Key, float],
    ) -> Met:
        return Met(
            moments=float(moments.sum() if key.target == ALL else moments[key.target]),
            seen=found["seen"][key] * self.scale,
            apart=apart[key],
            mean=found["mean"][key] * self.scale,
            variance=variances[key] * self.scale**2,
            pairs=found["pairs"][key],
        )

    def _by_cell(self, cells: Times, weights: _Amounts | None = None) -> _Amounts:
        size = self.targets * self.routes
        return np.bincount(cells, weights, size).reshape(self.targets, self.routes).astype(np.float64)

    def _overlaps(self, pairs: _Pairs) -> tuple[_Amounts, _Amounts]:
        """What chance gives: of all shifts, the part by which a pair meets. And how many pairs say so."""
        least, most = self.reach.least, self.reach.most
        later = np.minimum(pairs.last, most) - np.maximum(pairs.first, least)
        earlier = np.minimum(pairs.last, -least) - np.maximum(pairs.first, -most)
        lengths = np.maximum(later, 0) + np.maximum(earlier, 0)
        means = self._by_cell(pairs.cell, lengths / self.reach.width)
        return means, self._by_cell(pairs.cell[lengths > 0])

    def _variances(self, pairs: _Pairs) -> dict[Key, float]:
        """Of the sum over the shifts, which moves more than a count where load comes in waves or by the clock."""
        points, most = self.points, self.reach.most
        step = 2 * most / points
        enters = np.clip(np.ceil((pairs.first + most) / step), 0, points).astype(np.int64)
        leaves = np.clip(np.floor((pairs.last + most) / step) + 1, 0, points).astype(np.int64)
        size = self.targets * self.routes * (points + 1)
        at = pairs.cell * (points + 1)
        changes = np.bincount(at + enters, minlength=size) - np.bincount(at + leaves, minlength=size)
        sums = changes.reshape(self.targets, self.routes, points + 1)[:, :, :points].cumsum(axis=2)
        shifts = np.arange(points) * step - most
        kept = sums[:, :, np.abs(shifts) >= self.reach.least].astype(np.float64)
        return _margins(kept, lambda amounts: amounts.var(axis=-1, ddof=1))

    def _apart(self, now: _Pairs) -> Mapping[Key, float]:
        """Calls that met something, each once: the smaller number of the two sides."""
        outs, entered = self._distinct(now, now.out), self._distinct(now, now.entered)
        return {key: min(count, entered[key]) for key, count in outs.items()}

    def _distinct(self, now: _Pairs, calls: Times) -> dict[Key, float]:
        target, route = now.cell // self.routes, now.cell % self.routes
        nothing = np.zeros_like(route)
        cells = _distinct(now.cell, calls, self.targets * self.routes).reshape(self.targets, self.routes)
        found = {Key(*at): float(cells[at]) for at in np.ndindex(cells.shape)}
        found |= {Key(n, ALL): float(one) for n, one in enumerate(_distinct(target, calls, self.targets))}
        found |= {Key(ALL, n): float(one) for n, one in enumerate(_distinct(route, calls, self.routes))}
        return found | {Key(ALL, ALL): float(_distinct(nothing, calls, 1)[0])}


def _distinct(keys: Times, calls: Times, size: int) -> Times:
    width = int(np.max(calls)) + 1 if calls.size else 1
    return np.bincount(np.unique(keys * width + calls) // width, minlength=size)


def _margins(amounts: _Amounts, reduced: Callable[[_Amounts], _Amounts] = lambda one: one) -> dict[Key, float]:
    """Of each cell, of each target, of each RPC and of all."""
    cells = reduced(amounts)
    found = {Key(*at): float(cells[at]) for at in np.ndindex(cells.shape)}
    found |= {Key(n, ALL): float(one) for n, one in enumerate(reduced(amounts.sum(axis=1)))}
    found |= {Key(ALL, n): float(one) for n, one in enumerate(reduced(amounts.sum(axis=0)))}
    return found | {Key(ALL, ALL): float(reduced(amounts.sum(axis=(0, 1))))}


def poisson_tail(count: float, mean: float) -> float:
    """P(X >= count) for a Poisson variable, by its upper bound where the sum would be long."""
    if count <= mean:
        return 1.0
    if count > 1000:  # Chernoff's bound, on the safe side
        return math.exp(max(-700.0, count - mean - count * math.log(count / mean)))
    whole = math.floor(count)
    if whole <= mean:
        return 1.0
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
