"""What share of the traces is sampled at their start: stated, or told by the spans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grpc_tracing.audit.chance import Met

_RATE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)")


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
