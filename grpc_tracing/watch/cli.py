"""`grpc-tracing watch`: watches until SIGTERM; exit code 2 where it cannot start."""

from grpc_tracing.store.serving import served
from grpc_tracing.watch.options import parse
from grpc_tracing.watch.server import run


def main(arguments: list[str]) -> int:
    """Runs the watch and returns the exit code."""
    return served("grpc-tracing watch", run(parse(arguments)))
