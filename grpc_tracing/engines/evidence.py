"""From tables of spans to a ledger: the same steps on every engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.ledger import Continued, Entered, Group, Ledger, Outs, Place, Times
from grpc_tracing.audit.traces import DEEPEST
from grpc_tracing.engines import sql
from grpc_tracing.engines.sql import Dialect

_Row = Mapping[str, Any]
_Pairs = tuple["np.ndarray[Any, np.dtype[np.int64]]", "np.ndarray[Any, np.dtype[np.int64]]"]


class EngineError(Exception):
    """The engine cannot do it; the message says why in one line."""


class Engine(Protocol):
    """Runs SQL. Every method raises EngineError."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def parts(self) -> int:
        """In how many parts the spans are read: all spans of a trace are in the same one."""

    def open(self, part: int) -> None:
        """Makes `spans` of this part."""

    def keep(self, name: str, query: str) -> None:
        """Makes a table of what the query gives, in the place of an older one."""

    def add(self, name: str, query: str) -> None:
        """Adds what the query gives to the table, and makes it where there is none."""

    def rows(self, query: str) -> pa.Table: ...


def collect(engine: Engine) -> Ledger:
    """What all spans show. Raises EngineError."""
    ledger = Ledger()
    for part in range(engine.parts):
        engine.open(part)
        _count(engine, ledger)
        _join(engine)
        _walk(engine)
        _go_on(engine)
        _entries(engine, ledger)
        _exits(engine, ledger)
        _arrivals(engine, ledger)
        engine.add("lefts", sql.LEFT)
    _request_ids(engine, ledger)
    return ledger


def _count(engine: Engine, ledger: Ledger) -> None:
    for row in _rows(engine, sql.COUNTS):
        ledger.spans += row["spans"]
        ledger.services[row["service"]] += row["spans"]
        if row["first"] is not None:
            ledger.first = min(ledger.first or row["first"], row["first"])
            ledger.last = max(ledger.last, row["last"])
            if row["version"]:
                seen = ledger.versions[row["service"]]
                seen[row["version"]] = min(row["first"], seen.get(row["version"], row["first"]))
    ledger.traces += _one(engine, sql.TRACES)


def _join(engine: Engine) -> None:
    engine.keep("twice", sql.TWICE)
    engine.keep("held", sql.HELD)
    engine.keep("joined", sql.JOINED)


def _walk(engine: Engine) -> None:
    engine.keep("walk_0", sql.FIRST_STEP)
    walks = ["walk_0"]
    while len(walks) < DEEPEST and _one(engine, sql.open_in(walks[-1])):
        walks.append(f"walk_{len(walks)}")
        engine.keep(walks[-1], sql.next_step(walks[-2]))
    engine.keep("calls", sql.calls(walks))


def _go_on(engine: Engine) -> None:
    engine.keep("onward_0", sql.FIRST_ONWARD)
    engine.keep("nested", sql.NESTED)
    tables, nested = ["onward_0"], _one(engine, "SELECT count(*) FROM nested")
    while nested and _one(engine, f"SELECT count(*) FROM {tables[-1]}"):
        name = f"onward_{len(tables)}"
        engine.keep(name, sql.next_onward(tables[-1], tables))
        tables.append(name)
    engine.keep("onward", sql.onward(engine.dialect, tables))


def _entries(engine: Engine, ledger: Ledger) -> None:
    found = engine.rows(sql.entered(engine.dialect))
    for row, (starts, ends) in zip(_plain(found), _times(found), strict=True):
        routes = ledger.calls_in[Place(row["service"], Layer(row["layer"]), row["instance"])]
        entered = routes.setdefault(row["route"], Entered())
        _extend(entered, starts, ends)
        number = ledger.onward.number(row["targets"] or ())
        entered.goes_on.frombytes(np.full(len(starts), number, np.uint16).tobytes())
    for row in _rows(engine, sql.BELOW):
        ledger.orphans[row["service"]] += int(row["orphans"])
        ledger.spanned[row["service"]] += int(row["spanned"])
        ledger.skewed[row["service"]] += int(row["skewed"])


def _exits(engine: Engine, ledger: Ledger) -> None:
    for row in _rows(engine, sql.WHOLE):
        continued = Continued(row["route"], row["instance"], row["version"])
        _outs(ledger, row).whole[continued] += row["calls"]
    for row in _rows(engine, sql.UNSEEN):
        _outs(ledger, row).unseen += row["calls"]
    found = engine.rows(sql.began(engine.dialect))
    for row, times in zip(_plain(found), _times(found), strict=True):
        _begin(_outs(ledger, row), row, *times)
    for row in _rows(engine, sql.CALLED):
        ledger.called.setdefault(row["target"], set()).add(row["service"])


def _arrivals(engine: Engine, ledger: Ledger) -> None:
    for row in _rows(engine, sql.ARRIVED):
        _arrives(ledger, row)
    for row in _rows(engine, sql.ARRIVED_WHOLE):
        continued = Continued(row["route"], row["instance"], row["version"])
        _arrives(ledger, row).whole[continued] += row["calls"]
    found = engine.rows(sql.arrived(engine.dialect))
    for row, times in zip(_plain(found), _times(found), strict=True):
        _begin(_arrives(ledger, row), row, *times)


def _request_ids(engine: Engine, ledger: Ledger) -> None:
    """Calls in of all parts whose request id a call out that began a trace bears."""
    if not _one(engine, "SELECT count(*) FROM lefts"):
        return
    for part in range(engine.parts):
        if engine.parts > 1:
            engine.open(part)
            engine.keep("twice", sql.TWICE)
            engine.keep("held", sql.HELD)
        engine.add("cames", sql.CAME)
    engine.keep("firsts", sql.FIRSTS)
    engine.keep("seconds", sql.SECONDS)
    engine.keep("met", sql.MET)
    for row in _rows(engine, sql.BY_REQUEST_ID):
        _outs(ledger, row).by_request_id[row["route"]] += row["calls"]
    for row in _rows(engine, sql.SHOWN):
        _outs(ledger, row).show((row["call_in"], row["call_out"]))


def _outs(ledger: Ledger, row: _Row) -> Outs:
    return ledger.outs[Group(row["service"], Layer(row["layer"]), row["target"])]


def _arrives(ledger: Ledger, row: _Row) -> Outs:
    return ledger.outs[Group(row["service"], Layer(row["layer"]), "", arrives=True)]


def _begin(outs: Outs, row: _Row, starts: Any, ends: Any) -> None:
    _extend(outs.began.setdefault((row["instance"], row["version"]), Times()), starts, ends)


def _extend(times: Times, starts: Any, ends: Any) -> None:
    times.starts.frombytes(starts.tobytes())
    times.ends.frombytes(ends.tobytes())


def _rows(engine: Engine, query: str) -> Sequence[_Row]:
    rows: list[_Row] = engine.rows(query).to_pylist()
    return rows


def _one(engine: Engine, query: str) -> int:
    """The number that a query gives in its one row."""
    return int(engine.rows(query).column(0)[0].as_py())


def _plain(found: pa.Table) -> Sequence[_Row]:
    rows: list[_Row] = found.drop_columns(["times"]).to_pylist()
    return rows


def _times(found: pa.Table) -> Iterable[_Pairs]:
    """Of each row the starts and the ends, from its list of pairs."""
    for chunk in found.column("times").chunks:
        offsets = chunk.offsets.to_numpy()
        starts, ends = (column.to_numpy(zero_copy_only=False).astype(np.int64) for column in chunk.values.flatten())
        for first, last in pairwise(offsets):
            yield starts[first:last], ends[first:last]
