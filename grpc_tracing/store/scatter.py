"""How long traces lasted over when they began: a field of cells, each with how many traces lie there."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np

from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.frame import STATES
from grpc_tracing.store.trace_status import State

ACROSS: Final = 90
DOWN: Final = 24
CELL: Final = 10
"""The size of a cell in the field's own units."""
_WORST: Final = (State.BROKEN, State.FAILED, State.UNPROVEN, State.ARRIVING, State.WHOLE)
_RANK: Final = np.array([_WORST.index(state) for state in STATES], np.int64)
_MANY: Final = 10


@dataclass(frozen=True, slots=True)
class Dot:
    """A cell with traces: its corner, the worst of their states; `trace_id` where it is one alone."""

    x: int
    y: int
    state: State
    many: bool
    trace_id: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """The field begins at the left with `start_ns` and at the bottom with `low_ns`, which grows by powers."""

    dots: tuple[Dot, ...]
    start_ns: int
    end_ns: int
    low_ns: int
    high_ns: int

    @property
    def middle_ns(self) -> int:
        """The duration half way up."""
        return isqrt(self.low_ns * self.high_ns)


def scatter(chosen: Chosen) -> Scatter | None:
    """None where there is nothing to see: fewer than two traces."""
    rows = np.flatnonzero(chosen.rows)
    if len(rows) < 2:
        return None
    traces = chosen.table.traces
    starts, lasted = traces["start"][rows], np.maximum(traces["duration"][rows], 1)
    first, last = int(starts.min()), int(starts.max())
    low, high = int(lasted.min()), max(int(lasted.max()), int(lasted.min()) + 1)
    across = _places((starts - first) / max(1, last - first), ACROSS)
    down = _places(np.log(lasted / low) / np.log(high / low), DOWN)
    ranks = _RANK[traces["state"][rows]]
    cells = across * DOWN + down
    order = np.lexsort((ranks, cells))
    known, begins, counts = np.unique(cells[order], return_index=True, return_counts=True)
    dots = []
    for cell, begin, count in zip(known.tolist(), begins.tolist(), counts.tolist(), strict=True):
        worst = int(order[begin])
        alone = chosen.table.summaries[int(rows[worst])].trace_id if count == 1 else ""
        x, y = cell // DOWN * CELL, (DOWN - 1 - cell % DOWN) * CELL
        dots.append(Dot(x, y, _WORST[int(ranks[worst])], count >= _MANY, alone))
    return Scatter(tuple(dots), first, last, low, high)


def _places(parts: np.typing.NDArray[np.float64], count: int) -> np.typing.NDArray[np.int64]:
    return np.minimum((parts * count).astype(np.int64), count - 1)
