"""What `--traces` of `audit` may name beside a backend and files, and how it is read."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpc_tracing import values
from grpc_tracing.arguments import Parser, checked

SUFFIX: Final = ".parquet"
_CLICKHOUSE: Final = ("clickhouse://", "clickhouses://")
ENGINES: Final = ("duckdb", "spark")


@dataclass(frozen=True)
class How:
    """`memory` in bytes is DuckDB's limit; what does not fit into it is written below `spill`."""

    engine: str
    master: str
    memory: int
    threads: int | None
    spill: Path | None


def add_engine(made: Parser) -> None:
    """How columns are read."""
    add = made.add_argument_group("for Parquet").add_argument
    add("--engine", choices=ENGINES, default="duckdb", help="what reads Parquet [%(default)s]")
    add("--master", metavar="URL", default="", help="Spark's master, such as spark://host:7077 [Spark's own setting]")
    add(
        "--memory",
        metavar="SIZE",
        default="2GiB",
        type=checked(values.size),
        help="DuckDB's limit, and Spark's at the driver [%(default)s]",
    )
    add("--threads", metavar="N", type=checked(values.count), help="of DuckDB [one a core]")
    add("--spill", metavar="FOLDER", type=Path, help="where DuckDB writes what exceeds --memory [a temporary one]")


def how(made: Parser, given: argparse.Namespace) -> How:
    """Exits with code 2 and one line where an option is wrong."""
    if given.master and given.engine != "spark":
        made.error("--master is Spark's: give --engine spark too")
    if given.spill and not given.spill.is_dir():
        made.error(f"--spill: there is no folder {str(given.spill)!r}")
    return How(given.engine, given.master, given.memory, given.threads, given.spill)


def is_clickhouse(text: str) -> bool:
    return text.startswith(_CLICKHOUSE)


def is_parquet(text: str) -> bool:
    """A Parquet file by its name, a pattern of such names, or a folder that holds some."""
    if text.endswith(SUFFIX):
        return True
    return Path(text).is_dir() and next(Path(text).rglob(f"*{SUFFIX}"), None) is not None
