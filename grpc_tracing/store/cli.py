"""`grpc-tracing store`: serves until SIGTERM; exit code 2 where it cannot start."""

from grpc_tracing.store.options import parse
from grpc_tracing.store.server import run
from grpc_tracing.store.serving import served


def main(arguments: list[str]) -> int:
    """Runs the store and returns the exit code."""
    return served("grpc-tracing store", run(parse(arguments)))
