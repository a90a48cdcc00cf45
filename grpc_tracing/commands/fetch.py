"""`grpc-tracing fetch`: keeps what a backend has, to be judged elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tracing.commands import reading
from grpc_tracing.commands.columns import lacking
from grpc_tracing.commands.files import beside, whole
from grpc_tracing.commands.options import Where, fetch_parser, where
from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span


def main(arguments: list[str]) -> int:
    """Writes the file and returns the exit code."""
    made = fetch_parser()
    given = made.parse_args(arguments)
    source = where(made, given)
    try:
        missing = (_parquet if given.output.suffix == ".parquet" else _lines)(given.output, source)
    except (reading.NothingRead, OSError) as error:
        sys.stderr.write(f"grpc-tracing fetch: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stderr.writelines(f"not read: {one}\n" for one in missing)
    return 3 if missing else 0


def _lines(path: Path, source: Where) -> list[str]:
    with whole(path) as file:

        def keep(spans: list[Span]) -> None:
            file.writelines(f"{line(span)}\n" for span in spans)

        return reading.spans(source, keep)


def _parquet(path: Path, source: Where) -> list[str]:
    try:
        from grpc_tracing.engines.layout import Keeping, writer  # noqa: PLC0415 - pyarrow comes with an extra
    except ModuleNotFoundError as error:
        raise reading.NothingRead(lacking("Parquet", "duckdb", error)) from None
    with beside(path) as new, writer(new) as file:
        keeping = Keeping(file)
        missing = reading.spans(source, keeping.take)
        keeping.end()
        return missing
