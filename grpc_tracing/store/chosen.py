"""Traces that were chosen, and what is counted of them: loads of edges by any key, how many are in which state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from grpc_tracing.store.frame import STATES, Codes, Flags, Frame, Ints, Table
from grpc_tracing.store.stats import Load, percentile
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import State, TraceStatus

MOST_KEYS: Final = 1000
"""More paths or edges than a page can show: of the others nothing is computed."""


class Path(NamedTuple):
    """A call path from its first service on; `cut`: it begins at a piece that was cut off."""

    nodes: tuple[str, ...]
    cut: bool


@dataclass(frozen=True)
class Chosen:
    """Some traces of a table; `rows` says which."""

    table: Table
    rows: Flags

    @classmethod
    def of(cls, summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> Chosen:
        """These; `summaries` newest first."""
        table = Frame.of(summaries, statuses).table()
        return cls(table, table.traces["alive"])

    def only(self, rows: npt.NDArray[np.bool_]) -> Chosen:
        """Those of them that are among these too."""
        return Chosen(self.table, self.rows & rows)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.rows))

    @cached_property
    def states(self) -> Mapping[State, int]:
        counts = np.bincount(self.table.traces["state"][self.rows], minlength=len(STATES))
        return Counter({state: int(count) for state, count in zip(STATES, counts, strict=True) if count})

    def without(self, state: State) -> Chosen:
        return self.only(self.table.traces["state"] != STATES.index(state))

    @cached_property
    def edges(self) -> Ints:
        """The rows of their edges."""
        found: Ints = np.flatnonzero(self.rows[self.table.edges["trace"]])
        return found

    def values(self, column: str) -> npt.NDArray[Any]:
        """Of their edges."""
        return self.table.edges[column][self.edges]

    def used(self, column: str) -> dict[int, int]:
        """How often each code of a column of the traces occurs, the most frequent first."""
        codes, counts = np.unique(self.table.traces[column][self.rows], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(codes[place]): int(counts[place]) for place in order}

    @cached_property
    def places(self) -> Codes:
        """Of each edge its path, and whether that begins at a piece that was cut off: twice the path's code, plus 1."""
        found: Codes = self.values("path") * 2 + self.values("cut")
        return found

    def path(self, place: int) -> Path:
        return Path(self.table.paths[place // 2], bool(place % 2))


@dataclass(frozen=True, slots=True)
class Group:
    """Edges that have a key in common; times in nanoseconds, in ascending order."""

    load: Load
    durations: Ints
    owns: Ints


def groups(chosen: Chosen, keys: Codes) -> dict[int, Group]:
    """The edges of the chosen traces by key, one for each edge; of the MOST_KEYS most frequent keys."""
    columns = {name: chosen.values(name) for name in ("duration", "own", "error", "began", "seen", "retries")}
    order = np.argsort(keys, kind="stable")
    known, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    sorted_columns = {name: column[order] for name, column in columns.items()}
    most = np.argsort(-counts, kind="stable")[:MOST_KEYS]
    return {
        int(known[place]): _group(
            {name: column[starts[place] : starts[place] + counts[place]] for name, column in sorted_columns.items()}
        )
        for place in most
    }


def by_path(chosen: Chosen) -> dict[Path, Group]:
    """The edges of the chosen traces by call path."""
    return {chosen.path(place): group for place, group in groups(chosen, chosen.places).items()}


def _group(columns: Mapping[str, npt.NDArray[Any]]) -> Group:
    durations, owns = np.sort(columns["duration"]), np.sort(columns["own"])
    return Group(
        Load(
            count=len(durations),
            errors=int(np.count_nonzero(columns["error"])),
            began=int(np.count_nonzero(columns["began"])),
            p50_ns=percentile(durations, 50),
            p95_ns=percentile(durations, 95),
            p99_ns=percentile(durations, 99),
            own_ns=int(owns.sum(dtype=np.float64)),
            seen=bool(columns["seen"].any()),
            retries=int(columns["retries"].sum()),
        ),
        durations,
        owns,
    )
