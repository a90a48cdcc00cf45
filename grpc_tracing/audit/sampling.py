"""What share of the traces is sampled at their start: stated, or told by the spans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from grpc_tracing.audit.chance import Met

_RATE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)")
_BEATS: Final = 20
_NEAR: Final = 0.1
"""Of a beat: so far off one may be."""
_ON_BEAT: Final = 0.95
_LONGEST: Final = 30
"""Beats between two that are there; over more, their unevenness adds up."""
_CANDIDATES: Final = 50
_GAPS: Final = 50
_DEVIATIONS: Final = 4
_TELLING: Final = 0.05


@dataclass(frozen=True, slots=True)
class Sampling:
    """`rate` is the best guess, `least` what it is at the least; `source` says who tells."""

    rate: float
    least: float
    source: str


def stated(text: str) -> Sampling:
    """Reads a share or a percentage, `0.1` or `10%`. ValueError says how to write one."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < rate <= 1:
        raise ValueError(
            f"{text!r} is no sampling rate: write a share up to 1 such as 0.1, or a percentage such as 10%"
        )
    return Sampling(rate, rate, "stated")


def by_cuts(mets: Sequence[Met]) -> Sampling | None:
    """Where calls out follow calls in, each meets one call in beyond chance if that one was sampled.

    Of many, for those that stood out by luck tell too much; jobs of the same service lower the share.
    """
    if not mets:
        return None
    every = sum(mets, Met())
    if every.share < 5 * every.share_error:
        return None
    source = "the share of calls out that begin a trace within a call in, beyond chance"
    return Sampling(min(1.0, every.share), min(1.0, every.share - 3 * every.share_error), source)


def by_beats(begun: Iterable[Sequence[int]]) -> Sampling | None:
    """What share of a timer's beats left a trace, by the timer that shows least. Starts in ns, one place each.

    Traces that begin elsewhere are taken to be sampled alike.
    """
    found = [_share(*beats) for one in begun if (beats := _beats(one))]
    return min(found, key=lambda one: one.least, default=None)


def by_gaps(begun: Iterable[Sequence[int]]) -> Sampling | None:
    """How much is sampled at the least, by the timer whose gaps tell least. Starts in ns, one place each.

    Of a timer of any evenness, each call kept with the chance q: gaps span a geometric number of beats, so that their
    variance is at least 1 - q of their mean's square. Calls at random tell nothing.
    """
    found = [one for starts in begun if (one := _evenness(starts))]
    return min(found, key=lambda one: one.least, default=None)


def _evenness(starts: Sequence[int]) -> Sampling | None:
    gaps = np.diff(np.sort(np.asarray(starts, np.int64))).astype(np.float64)
    if len(gaps) < _GAPS or not gaps.any():
        return None
    off = gaps / gaps.mean() - 1
    varies = float(np.mean(off**2))
    error = float(np.std(off**2 - 2 * varies * off)) / math.sqrt(len(gaps))
    least = 1 - varies - _DEVIATIONS * error
    source = "how even a timer is: were fewer of its calls traced, its gaps would vary more"
    return Sampling(1 - varies, least, source) if least > _TELLING else None


def _share(there: int, beats: int) -> Sampling:
    """With the lower end of Wilson's interval, three deviations wide."""
    rate, z = there / beats, 3.0
    half = z * math.sqrt(rate * (1 - rate) / beats + z * z / (4 * beats * beats))
    least = (rate + z * z / (2 * beats) - half) / (1 + z * z / beats)
    return Sampling(rate, least, "the share of a timer's beats that begin a trace")


def _beats(starts: Sequence[int]) -> tuple[int, int] | None:
    """How many beats are there, and how many there were, where all are of one timer."""
    gaps = np.diff(np.sort(np.asarray(starts, np.int64))).astype(np.float64)
    if len(gaps) < _BEATS:
        return None
    for beat in np.sort(gaps[gaps > 0])[: len(gaps) // 2][::-1][:: max(1, len(gaps) // 2 // _CANDIDATES)]:
        steps = np.round(gaps / beat)
        near = (steps >= 1) & (steps <= _LONGEST)
        if near.sum() < _ON_BEAT * len(gaps):
            continue
        exact = float(np.median(gaps[near] / steps[near]))
        steps = np.round(gaps / exact)
        if np.mean((steps >= 1) & (np.abs(gaps - steps * exact) <= _NEAR * exact)) >= _ON_BEAT:
            return len(gaps), int(np.maximum(steps, 1).sum())
    return None
