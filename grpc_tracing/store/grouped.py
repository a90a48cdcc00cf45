"""Traces grouped by where they begin, by what they call, or by their state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.frame import STATES, Names
from grpc_tracing.store.stats import percentile
from grpc_tracing.store.trace_status import State

MOST: Final = 100


@dataclass(frozen=True, slots=True)
class TraceGroup:
    """Traces that have `name` in common; `errors` have a span that failed."""

    name: str
    count: int
    share: float
    errors: int
    broken: int
    p50_ns: int
    p95_ns: int


def grouped(chosen: Chosen, by: str) -> tuple[TraceGroup, ...]:
    """The largest first, MOST at most; `by` is root, route or state."""
    table, rows = chosen.table, np.flatnonzero(chosen.rows)
    names, column = _keys(chosen, by)
    codes, traces = column[rows], table.traces
    broken = traces["state"][rows] == STATES.index(State.BROKEN)
    found = []
    for code in np.unique(codes).tolist():
        mine = codes == code
        lasted = np.sort(traces["duration"][rows][mine])
        errors, cut = np.count_nonzero(traces["errors"][rows][mine]), np.count_nonzero(broken[mine])
        share = len(lasted) / len(rows)
        quantiles = percentile(lasted, 50), percentile(lasted, 95)
        found.append(TraceGroup(names[code], len(lasted), share, int(errors), int(cut), *quantiles))
    return tuple(sorted(found, key=lambda one: (-one.count, one.name))[:MOST])


def _keys(chosen: Chosen, by: str) -> tuple[list[str], np.typing.NDArray[np.int64]]:
    """Names, and for each row of the table the place of its own."""
    table = chosen.table
    if by == "state":
        return [state.value for state in STATES], table.traces["state"].astype(np.int64)
    if by == "route":
        return list(table.names), table.traces["name"].astype(np.int64)
    roots: Names[str] = Names()
    codes = np.array([roots.code(one[0].node if one else "") for one in table.pieces], np.int64)
    return roots.values, codes[table.traces["tops"]]
