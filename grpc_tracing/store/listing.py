"""The list of traces: what it is narrowed to, in which order it stands, by what it is grouped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from grpc_tracing.store.attributes import Chunks, bearing
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.frame import LONGEST, STATES, Flags, Ints, Table
from grpc_tracing.store.grouped import TraceGroup, grouped
from grpc_tracing.store.scatter import Scatter, scatter
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import State, TraceStatus

PAGE_ROWS = 50
SORTS: Final = {
    "newest": "newest first",
    "longest": "longest first",
    "shortest": "shortest first",
    "spans": "most spans first",
}
_MOST_NAMES = 200


@dataclass(frozen=True, slots=True)
class ListRow:
    """A line of a list of traces."""

    summary: Summary
    status: TraceStatus


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; empty: anything. `state` is one of State's values, or error.

    `path` is a call path from its first service on as `path_text` writes it, `edge` its last two, `call` an RPC.
    `least_ns` and `most_ns` are for a call along that path or edge: at least the one, and shorter than the other.
    """

    service: str = ""
    operation: str = ""
    state: str = ""
    min_ns: int = 0
    max_ns: int | None = None
    attribute: tuple[str, str] | None = None
    id: str = ""
    path: str = ""
    edge: str = ""
    call: str = ""
    least_ns: int = 0
    most_ns: int | None = None

    def chosen(self, among: Chosen) -> Chosen:
        """Those that fit in all but the attribute, which summaries do not tell."""
        table = among.table
        rows = among.rows & self._fits_duration(table)
        if self.state:
            rows &= table.traces["errors"] if self.state == "error" else table.traces["state"] == _code(self.state)
        if self.service:
            rows &= _having(table, "services", (self.service in one for one in table.sets))
        if self.operation:
            rows &= _having(
                table, "operations", (any(self.operation == name for _, name, _ in one) for one in table.operations)
            )
        if self.call:
            rows &= _having(table, "name", (self.call == one for one in table.names))
        if self.path or self.edge or self.least_ns or self.most_ns is not None:
            rows &= self._with_call(table)
        return Chosen(table, self._with_id(table, rows) if self.id else rows)

    def _fits_duration(self, table: Table) -> Flags:
        duration = table.traces["duration"]
        longest = LONGEST if self.max_ns is None else min(self.max_ns, LONGEST)
        found: Flags = (duration >= min(self.min_ns, LONGEST)) & (duration <= longest)
        return found

    def _with_call(self, table: Table) -> Flags:
        edges = table.edges
        fits = np.zeros((2, len(table.paths)), np.bool_)
        for cut in (0, 1):
            fits[cut] = [
                self.path in {"", path_text(path, cut=bool(cut))} and self.edge in {"", path_text(path[-2:])}
                for path in table.paths
            ]
        found = fits[edges["cut"].astype(np.int8), edges["path"]]
        found &= (edges["duration"] >= self.least_ns) & (edges["duration"] < (self.most_ns or 2**63 - 1))
        rows = np.zeros(len(table.summaries), np.bool_)
        rows[edges["trace"][found]] = True
        return rows

    def _with_id(self, table: Table, rows: Flags) -> Flags:
        found = rows.copy()
        for row in np.flatnonzero(rows):
            one = table.summaries[int(row)]
            found[row] = any(known.startswith(self.id) for known in (one.trace_id, *one.request_ids))
        return found


def _code(state: str) -> int:
    return STATES.index(State(state))


def _having(table: Table, column: str, fits: Iterable[bool]) -> Flags:
    """The rows whose code is that of a value that fits; there is a code for every row."""
    known = np.fromiter(fits, np.bool_)
    found: Flags = known[table.traces[column]] if len(known) else np.zeros(len(table.summaries), np.bool_)
    return found


def path_text(path: Sequence[str], *, cut: bool = False) -> str:
    """A call path as a link spells it; `cut`: it begins at a piece that was cut off."""
    return " › ".join(("…", *path) if cut else path)


@dataclass(frozen=True, slots=True)
class ListView:
    """A page of a list; `longest_ns` is the scale of the duration bars.

    `unread` counts the traces in which an attribute was not searched for. `groups` are there where they were asked for.
    """

    rows: tuple[ListRow, ...]
    total: int
    states: Mapping[State, int]
    pages: int
    in_range: int
    services: tuple[str, ...]
    operations: tuple[str, ...]
    longest_ns: int
    unread: int
    scatter: Scatter | None
    groups: tuple[TraceGroup, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a list is shown, and how; pages count from 1."""

    filter: Filter = field(default_factory=Filter)
    page: int = 1
    per_page: int = PAGE_ROWS
    sort: str = "newest"
    group: str = ""


def list_view(
    among: Chosen, statuses: Mapping[str, TraceStatus], wanted: Wanted, chunks: Chunks = lambda _: ()
) -> ListView:
    """`chunks` gives a trace's spans, where an attribute is searched for."""
    fitting, unread = wanted.filter.chosen(among), 0
    if wanted.filter.attribute:
        fitting, unread = bearing(fitting, wanted.filter.attribute, chunks)
    rows = ordered(fitting, wanted.sort)
    first = (wanted.page - 1) * wanted.per_page
    shown = [among.table.summaries[row] for row in rows[first : first + wanted.per_page].tolist()]
    return ListView(
        rows=tuple(ListRow(one, statuses[one.trace_id]) for one in shown),
        total=len(rows),
        states=fitting.states,
        pages=max(1, -(-len(rows) // wanted.per_page)),
        in_range=len(among),
        services=tuple(sorted({service for code in among.used("services") for service in among.table.sets[code]})),
        operations=_operations(among),
        longest_ns=max((one.duration_ns for one in shown), default=0),
        unread=unread,
        scatter=scatter(fitting),
        groups=grouped(fitting, wanted.group) if wanted.group else (),
    )


def _operations(among: Chosen) -> tuple[str, ...]:
    """Names to choose from."""
    names = {name for code in among.used("operations") for _, name, _ in among.table.operations[code] if name}
    return tuple(sorted(names)[:_MOST_NAMES])


def ordered(chosen: Chosen, sort: str) -> Ints:
    """The rows of the chosen traces, in one of SORTS."""
    rows = np.flatnonzero(chosen.rows)
    traces = chosen.table.traces
    # The newest first among those that are alike.
    keys = {"longest": -traces["duration"], "shortest": traces["duration"], "spans": -traces["spans"]}
    newest = rows[np.argsort(-traces["order"][rows])]
    found: Ints = newest[np.argsort(keys[sort][newest], kind="stable")] if sort in keys else newest
    return found
