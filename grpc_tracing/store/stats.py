"""How much calls there were along an edge or a path: how many, how many failed, how long they lasted."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy.typing as npt


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


def percentile(ordered: npt.NDArray[Any], percent: int) -> int:
    """By nearest rank, which is always a value that was measured."""
    return int(ordered[max(0, ceil(len(ordered) * percent / 100) - 1)])
