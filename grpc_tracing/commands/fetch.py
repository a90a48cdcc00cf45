"""`grpc-tracing fetch`: keeps what a backend has, to be judged elsewhere."""

from __future__ import annotations

import sys

from grpc_tracing.commands import reading
from grpc_tracing.commands.files import whole
from grpc_tracing.commands.options import fetch_parser, where
from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span


def main(arguments: list[str]) -> int:
    """Writes the file and returns the exit code."""
    made = fetch_parser()
    given = made.parse_args(arguments)
    source = where(made, given)
    try:
        with whole(given.output) as file:

            def keep(spans: list[Span]) -> None:
                file.writelines(f"{line(span)}\n" for span in spans)

            missing = reading.spans(source, keep)
    except (reading.NothingRead, OSError) as error:
        sys.stderr.write(f"grpc-tracing fetch: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stderr.writelines(f"not read: {one}\n" for one in missing)
    return 3 if missing else 0
