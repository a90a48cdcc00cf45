"""All traces in columns: what the pages count is counted by numpy, exactly, however many traces there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from grpc_tracing.spans.model import Kind
from grpc_tracing.spans.tree import Edge
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import State, TraceStatus

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Operations = tuple[tuple[str, str, Kind], ...]
T = TypeVar("T", bound=Hashable)

STATES: Final = tuple(State)
"""The column `state` holds places in it."""
LONGEST: Final = 2**62
"""OTLP's times have 64 bits without a sign; no clock that tells more than this is right."""
_FIRST: Final = 256


class Names(Generic[T]):
    """A number for each distinct value, from 0 on."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        self.values = list(values)
        self._codes = {value: code for code, value in enumerate(self.values)}

    def code(self, value: T) -> int:
        found = self._codes.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def used(self, codes: Codes) -> tuple[Names[T], Codes]:
        """Those that are in use, and the column with their new numbers."""
        kept, column = np.unique(codes, return_inverse=True)
        return Names(self.values[code] for code in kept), column.astype(np.int32)


class Piece(NamedTuple):
    """Where a piece begins. `cut`: it hangs in the air; `called`: with a call out that names no parent."""

    node: str
    cut: bool
    called: bool


class Columns:
    """Arrays of one length that grow together."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.count = 0
        self._arrays = {name: np.empty(_FIRST, kind) for name, kind in kinds.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name][: self.count]

    def __setitem__(self, name: str, values: npt.NDArray[Any]) -> None:
        self._arrays[name] = values

    def append(self, count: int, values: Mapping[str, Any]) -> int:
        """The first of so many new rows; a value for each column, or one for each row."""
        first, self.count = self.count, self.count + count
        size = len(next(iter(self._arrays.values())))
        if self.count > size:
            more = max(self.count, 2 * size)
            self._arrays = {name: np.resize(array, more) for name, array in self._arrays.items()}
        for name, value in values.items():
            self._arrays[name][first : self.count] = value
        return first

    def keep(self, rows: Flags) -> None:
        """The others are gone, and the rows that stay move up."""
        self._arrays = {name: self[name][rows] for name in self._arrays}
        self.count = int(np.count_nonzero(rows))


_TRACES: Final = {
    "alive": "?",
    "order": "i8",
    "start": "i8",
    "duration": "i8",
    "state": "i1",
    "errors": "?",
    "spans": "i4",
    "name": "i4",
    "services": "i4",
    "operations": "i4",
    "tops": "i4",
}
_EDGES: Final = {
    "trace": "i4",
    "path": "i4",
    "cut": "?",
    "duration": "i8",
    "own": "i8",
    "error": "?",
    "began": "?",
    "seen": "?",
    "retries": "i4",
}


@dataclass(frozen=True, slots=True)
class Table:
    """What the frame held at a moment, whatever comes later.

    Of traces, `order` counts them as they came in; `name`, `services`, `operations` and `tops` are places in `names`,
    `sets`, `operations` and `pieces`. Of edges, `trace` is a row of the traces and `path` a place in `paths`.
    """

    summaries: Sequence[Summary]
    traces: Mapping[str, npt.NDArray[Any]]
    edges: Mapping[str, npt.NDArray[Any]]
    names: Sequence[str]
    sets: Sequence[tuple[str, ...]]
    operations: Sequence[Operations]
    pieces: Sequence[tuple[Piece, ...]]
    paths: Sequence[tuple[str, ...]]

    def since(self, start_ns: int, end_ns: int = LONGEST) -> Flags:
        """The traces that began in this time."""
        start = self.traces["start"]
        found: Flags = self.traces["alive"] & (start >= min(start_ns, LONGEST)) & (start <= min(end_ns, LONGEST))
        return found


@dataclass(slots=True)
class _Row:
    row: int
    first_edge: int
    order: int
    summary: Summary


@dataclass(slots=True)
class Frame:
    """Filled a trace at a time; not for threads, though the tables that it gives may be read in any."""

    _traces: Columns = field(default_factory=lambda: Columns(_TRACES))
    _edges: Columns = field(default_factory=lambda: Columns(_EDGES))
    _summaries: list[Summary] = field(default_factory=list)
    _rows: dict[str, _Row] = field(default_factory=dict)
    _names: Names[str] = field(default_factory=Names)
    _sets: Names[tuple[str, ...]] = field(default_factory=Names)
    _operations: Names[Operations] = field(default_factory=Names)
    _pieces: Names[tuple[Piece, ...]] = field(default_factory=Names)
    _paths: Names[tuple[str, ...]] = field(default_factory=Names)
    _came: int = 0

    @classmethod
    def of(cls, summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> Frame:
        """Of traces that are all known; `summaries` newest first."""
        made = cls()
        for summary in reversed(list(summaries)):
            made.put(summary, statuses[summary.trace_id])
        return made

    def put(self, summary: Summary, status: TraceStatus) -> None:
        """Adds a trace, or changes what is known of it."""
        known = self._rows.get(summary.trace_id)
        if known is None or known.summary is not summary:
            known = self._add(summary, status, known)
        else:
            self._traces["state"][known.row] = STATES.index(status.state)
            self._traces["tops"][known.row] = self._pieces.code(_pieces(summary, status))
        if summary.edges:
            cut = [status.cut[edge.piece] for edge in summary.edges]
            self._edges["cut"][known.first_edge : known.first_edge + len(cut)] = cut

    def drop(self, trace_id: str) -> None:
        """It is no longer kept; where it never was, nothing happens."""
        known = self._rows.pop(trace_id, None)
        if known:
            self._traces["alive"][known.row] = False
            self._compact()

    def table(self) -> Table:
        """As it is now."""
        traces, edges = self._traces, self._edges
        return Table(
            list(self._summaries),
            # What changes in place is copied.
            {name: traces[name].copy() if name in {"alive", "state", "tops"} else traces[name] for name in _TRACES},
            {name: edges[name].copy() if name == "cut" else edges[name] for name in _EDGES},
            self._names.values,
            self._sets.values,
            self._operations.values,
            self._pieces.values,
            self._paths.values,
        )

    def _add(self, summary: Summary, status: TraceStatus, before: _Row | None) -> _Row:
        if before:
            self._traces["alive"][before.row] = False
        else:
            self._came += 1
        order = before.order if before else self._came
        row = self._traces.append(
            1,
            {
                "alive": True,
                "order": order,
                "start": min(summary.start_ns, LONGEST),
                "duration": min(summary.duration_ns, LONGEST),
                "errors": summary.errors > 0,
                "spans": summary.spans,
                "name": self._names.code(summary.name),
                "services": self._sets.code(summary.services),
                "operations": self._operations.code(summary.operations),
                "state": STATES.index(status.state),
                "tops": self._pieces.code(_pieces(summary, status)),
            },
        )
        self._summaries.append(summary)
        added = self._rows[summary.trace_id] = _Row(row, self._add_edges(row, summary.edges), order, summary)
        self._compact()
        return added

    def _add_edges(self, row: int, edges: tuple[Edge, ...]) -> int:
        values = {
            "trace": row,
            "path": [self._paths.code(edge.path) for edge in edges],
            "duration": [min(edge.duration_ns, LONGEST) for edge in edges],
            "own": [min(edge.own_ns, LONGEST) for edge in edges],
            "error": [edge.error for edge in edges],
            "began": [edge.error and edge.began for edge in edges],
            "seen": [edge.seen for edge in edges],
            "retries": [edge.retries for edge in edges],
        }
        return self._edges.append(len(edges), values)

    def _compact(self) -> None:
        """Where most rows are dead the others move up, and names that none of them bears are forgotten."""
        if self._traces.count < max(_FIRST, 2 * len(self._rows)):
            return
        alive = self._traces["alive"]
        moved = np.cumsum(alive, dtype=np.int64) - 1
        edges = alive[self._edges["trace"]]
        first = np.cumsum(edges, dtype=np.int64) - edges
        for known in self._rows.values():
            if known.first_edge < len(first):
                known.first_edge = int(first[known.first_edge])
            known.row = int(moved[known.row])
        self._summaries = [one for one, lives in zip(self._summaries, alive, strict=True) if lives]
        self._traces.keep(alive)
        self._edges.keep(edges)
        self._edges["trace"] = moved[self._edges["trace"]].astype(np.int32)
        self._names, self._traces["name"] = self._names.used(self._traces["name"])
        self._sets, self._traces["services"] = self._sets.used(self._traces["services"])
        self._operations, self._traces["operations"] = self._operations.used(self._traces["operations"])
        self._pieces, self._traces["tops"] = self._pieces.used(self._traces["tops"])
        self._paths, self._edges["path"] = self._paths.used(self._edges["path"])


def _pieces(summary: Summary, status: TraceStatus) -> tuple[Piece, ...]:
    return tuple(
        Piece(top.node, cut, top.kind is Kind.CLIENT and not top.orphan)
        for top, cut in zip(summary.tops, status.cut, strict=True)
    )
