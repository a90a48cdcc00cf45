"""`grpc-tracing watch`: watches until SIGTERM; exit code 2 where it cannot start."""

from __future__ import annotations

import sys

import uvloop

from grpc_tracing.store.serving import TakenError
from grpc_tracing.watch.options import parse
from grpc_tracing.watch.server import run


def main(arguments: list[str]) -> int:
    """Runs the watch and returns the exit code."""
    options = parse(arguments)
    try:
        uvloop.run(run(options))
    except TakenError as error:
        sys.stderr.write(f"grpc-tracing watch: {error}\n")
        return 2
    return 0
