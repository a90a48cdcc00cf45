"""Calls as callers of their own make them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any


def call_at_random(begin: Callable[[random.Random], Any], calls: int, rate: float) -> list[Any]:
    """The answers. `begin` starts a call and gives its future; so many of them, `rate` a second, with gaps at random.

    At a strict beat all shifts of time look alike, and the audit can tell nothing by time.
    """
    chance = random.Random(1)  # noqa: S311 - no secret
    under_way = []
    for _ in range(calls):
        under_way.append(begin(chance))
        time.sleep(chance.expovariate(rate))
    return [one.result() for one in under_way]
