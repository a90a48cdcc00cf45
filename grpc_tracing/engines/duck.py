"""DuckDB: Parquet files, read out of core within a limit of memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa

from grpc_tracing.engines import sql
from grpc_tracing.engines.evidence import EngineError
from grpc_tracing.engines.layout import given
from grpc_tracing.engines.sql import Dialect

_PART: Final = 2_000_000
"""Spans that are joined at a time: about 1 GB."""
_DIALECT: Final = Dialect(
    distinct="list_sort(list(DISTINCT {}))",
    times="list(struct_pack(a := {}, b := {}))",
)


@dataclass
class Duck:
    """Traces go into parts by a hash of their id; each part is one file, or all files where one part holds all."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    files: Sequence[str]
    parts: int
    dialect: Dialect = _DIALECT

    def split(self) -> None:
        """Writes the parts."""
        self._view("given", _given(self.files))
        if self.parts > 1:
            query = f"SELECT *, hash({sql.TAIL}) % {self.parts} AS part FROM given"
            self._do(f"COPY ({query}) TO '{self.folder}/parts' (FORMAT parquet, PARTITION_BY part, COMPRESSION snappy)")

    def open(self, part: int) -> None:
        if self.parts > 1:
            self._view("given", _given([f"{self.folder}/parts/part={part}/*.parquet"]))
        self._view("spans", sql.spans("given"))

    def keep(self, name: str, query: str) -> None:
        self._do(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def add(self, name: str, query: str) -> None:
        self._do(f"CREATE TEMP TABLE IF NOT EXISTS {name} AS {query} LIMIT 0")
        self._do(f"INSERT INTO {name} {query}")

    def rows(self, query: str) -> pa.Table:
        with _said():
            return self.connection.sql(query).to_arrow_table()

    def _view(self, name: str, query: str) -> None:
        self._do(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")

    def _do(self, query: str) -> None:
        with _said():
            self.connection.execute(query)


@contextmanager
def _said() -> Iterator[None]:
    """Raises EngineError with what helps."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error).partition("\n")[0]
        if "No space left" in str(error) or "max_temp_directory_size" in str(error):
            raise EngineError("the disk is full: name a folder with more room by --spill") from None
        if isinstance(error, duckdb.OutOfMemoryException):
            raise EngineError(f"{text}: give more --memory") from None
        raise EngineError(text) from None


def _given(files: Sequence[str]) -> str:
    named = ", ".join("'" + one.replace("'", "''") + "'" for one in files)
    return given(f"read_parquet([{named}], hive_partitioning = false)")


@dataclass(frozen=True)
class Limits:
    """`memory` in bytes, of which a process takes some more; None for a thread a core, and for a temporary folder."""

    memory: int
    threads: int | None = None
    spill: Path | None = None


@contextmanager
def opened(files: Sequence[str], rows: int, limits: Limits, part: int = _PART) -> Iterator[Duck]:
    """The engine over these files, of so many rows; what it spills is gone at the end. Raises EngineError."""
    with TemporaryDirectory(prefix="grpc-tracing-", dir=limits.spill) as folder, _said():
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{limits.memory // 1024}KiB",
            "temp_directory": folder,
            "preserve_insertion_order": False,
        }
        if limits.threads:
            config["threads"] = limits.threads
        with duckdb.connect(":memory:", config=config) as connection:
            made = Duck(connection, Path(folder), files, max(1, math.ceil(rows / part)))
            made.split()
            yield made
