"""The command lines of `audit` and `fetch`, read once and checked."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from grpc_tracing import values
from grpc_tracing.arguments import Parser, checked
from grpc_tracing.audit import sampling
from grpc_tracing.backends.apis import Window
from grpc_tracing.backends.jaeger import Source
from grpc_tracing.commands.backend_options import add_backend, backend
from grpc_tracing.commands.column_options import add_engine, is_parquet
from grpc_tracing.commands.files import writable


@dataclass(frozen=True)
class Where:
    """Where spans are read: a URL with its API and window, or files; neither for standard input."""

    source: Source | None
    api: str
    window: Window
    path: Path | None
    wait: float | None = None
    """Seconds that all reading may take; None for as long as it takes."""

    @property
    def name(self) -> str:
        return self.source.url if self.source else str(self.path) if self.path else "standard input"


def audit_parser() -> Parser:
    """Of `grpc-tracing audit`."""
    made = Parser(
        prog="grpc-tracing audit",
        description="Which services cut traces, read from spans alone. Exit code 0: none, 1: some do, 2: nothing to "
        "read, 3: it cannot be told.",
    )
    _add_reading(made, ", a Parquet file or a folder of them, clickhouse://USER@HOST/DATABASE")
    add_engine(made)
    made.add_argument(
        "--sampling",
        metavar="RATE",
        type=checked(sampling.stated),
        help="the share of traces that are sampled at their start, such as 1, 0.1 or 10%%; without it the audit takes "
        "what the spans tell, and says no job where they do not",
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    made.add_argument(
        "--junit", metavar="FILE", type=checked(writable), help="also write JUnit's XML, a test case a service"
    )
    made.add_argument(
        "--report", metavar="FILE", type=checked(writable), help="also write a page that opens without a network"
    )
    return made


def fetch_parser() -> Parser:
    """Of `grpc-tracing fetch`."""
    made = Parser(
        prog="grpc-tracing fetch",
        description="Keeps spans as OTLP JSON, a span a line, or as Parquet, to be judged elsewhere. Exit code 0: all, "
        "2: nothing to read, 3: a part is missing.",
    )
    _add_reading(made)
    made.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help="the file to write; Parquet if its name ends so",
    )
    return made


def _add_reading(made: Parser, more: str = "") -> None:
    add = made.add_argument
    add(
        "--traces",
        metavar="WHERE",
        required=True,
        help=f"a backend's URL, a file or folder of spans{more}, - for standard input",
    )
    add_backend(made)
    add(
        "--last",
        metavar="TIME",
        default="1h",
        type=checked(values.positive_duration),
        help="the window up to now, for a URL [%(default)s]",
    )
    add(
        "--wait",
        metavar="TIME",
        type=checked(values.positive_duration),
        help="how long a URL is read at most: what has come by then is taken, and said to be a part [no limit]",
    )


def where(made: Parser, given: argparse.Namespace) -> Where:
    """Exits with code 2 and one line where an option is wrong."""
    text: str = given.traces
    if "://" in text:
        return _url(made, given, text)
    if given.traces_header or given.traces_ca:
        made.error("--traces-header and --traces-ca are for a URL: --traces names a file")
    if text != "-" and not os.path.lexists(text):
        made.error(f"--traces: there is no file {text!r}; a backend's URL begins with http:// or https://")
    if is_parquet(text):
        made.error(f"--traces: {made.prog} reads no Parquet: grpc-tracing audit does")
    return Where(None, given.traces_api, Window(0, 0), None if text == "-" else Path(text))


def _url(made: Parser, given: argparse.Namespace, text: str) -> Where:
    return Where(backend(made, given, text), given.traces_api, window(given.last), None, given.wait)


def window(last: float) -> Window:
    """So many seconds up to now."""
    now = time.time_ns()
    return Window(now - int(last * 1e9), now)
