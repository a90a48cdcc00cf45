"""Spans that lie in columns, audited by the engine that reads them where they lie."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grpc_tracing.backends.apis import Window
from grpc_tracing.commands.column_options import SUFFIX, How
from grpc_tracing.commands.reading import NothingRead
from grpc_tracing.printable import one_line

if TYPE_CHECKING:
    from grpc_tracing.audit.ledger import Ledger
    from grpc_tracing.engines.evidence import Engine


def ledger(text: str, way: How) -> Ledger:
    """What the spans in these files show. Raises NothingRead."""
    files = _files(text)
    return _needing("Parquet", way.engine, lambda: _parquet(files, way))


def clickhouse(text: str, ca: Path | None, window: Window) -> Ledger:
    """What the spans show that the OpenTelemetry exporter wrote into ClickHouse. Raises NothingRead."""
    return _needing("ClickHouse", "clickhouse", lambda: _clickhouse(text, ca, window))


def _files(text: str) -> list[str]:
    path = Path(text)
    if path.is_dir():
        return sorted(str(one) for one in path.rglob(f"*{SUFFIX}"))
    found = [text] if path.exists() else sorted(glob(text, recursive=True))  # noqa: PTH207 - the user's own pattern
    if not found:
        raise NothingRead(f"there is no file {text!r}")
    return found


def _parquet(files: Sequence[str], way: How) -> Ledger:
    from grpc_tracing.engines import layout  # noqa: PLC0415 - pyarrow comes with the engine's extra
    from grpc_tracing.engines.evidence import EngineError, collect  # noqa: PLC0415

    try:
        rows = sum(layout.rows_of(file) for file in files)
        if not rows:
            raise NothingRead(f"{one_line(files[0])} holds no spans")
        opened = _engine(files, rows, way)
        _say(f"{rows:,} spans in {_counted(files)} by {_TITLES[way.engine]}")
        with opened as engine:
            return collect(engine)
    except (EngineError, layout.LayoutError) as error:
        raise NothingRead(one_line(str(error))) from None


def _engine(files: Sequence[str], rows: int, way: How) -> AbstractContextManager[Engine]:
    if way.engine == "spark":
        from grpc_tracing.engines import spark  # noqa: PLC0415

        return spark.opened(files, rows, way.master, way.memory)
    from grpc_tracing.engines import duck  # noqa: PLC0415

    return duck.opened(files, rows, duck.Limits(way.memory, way.threads, way.spill))


def _clickhouse(text: str, ca: Path | None, window: Window) -> Ledger:
    from grpc_tracing.engines import clickhouse  # noqa: PLC0415
    from grpc_tracing.engines.evidence import EngineError, collect  # noqa: PLC0415

    try:
        where = clickhouse.server(text, str(ca) if ca else None)
        with clickhouse.opened(where, (window.start, window.end)) as engine:
            _say(where.name)
            found = collect(engine)
    except (EngineError, ValueError) as error:
        raise NothingRead(one_line(str(error))) from None
    if not found.spans:
        raise NothingRead(f"{where.name} has no spans in this window: ask for more with --last")
    return found


def _say(what: str) -> None:
    sys.stderr.write(f"reading {what}\n")


_TITLES: Final = {"duckdb": "DuckDB", "spark": "Spark"}


def _counted(files: Sequence[str]) -> str:
    return one_line(files[0]) if len(files) == 1 else f"{len(files):,} files"


def _needing(what: str, extra: str, run: Callable[[], Ledger]) -> Ledger:
    try:
        return run()
    except ModuleNotFoundError as error:
        raise NothingRead(lacking(what, extra, error)) from None


def lacking(what: str, extra: str, error: ModuleNotFoundError) -> str:
    """Names the extra; an error in a module of ours is one still."""
    if (error.name or "").startswith("grpc_tracing"):
        raise error
    return f"{what} needs {error.name}, which is not installed: pip install 'grpc-tracing[audit,{extra}]'"
