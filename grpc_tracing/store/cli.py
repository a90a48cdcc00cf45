"""`grpc-tracing store`: serves until SIGTERM; exit code 2 where it cannot start."""

import sys

import uvloop

from grpc_tracing.store.options import parse
from grpc_tracing.store.server import run
from grpc_tracing.store.serving import TakenError


def main(arguments: list[str]) -> int:
    """Runs the store and returns the exit code."""
    options = parse(arguments)
    try:
        uvloop.run(run(options))
    except TakenError as error:
        sys.stderr.write(f"grpc-tracing store: {error}\n")
        return 2
    return 0
