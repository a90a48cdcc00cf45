"""`grpc-tracing`: the library's command line. Exit code 2 for wrong usage, and where a part is not installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from grpc_tracing.version import VERSION


class Command(NamedTuple):
    """A command: the module whose `main(arguments)` runs it, the extra that it needs, what it does."""

    module: str
    extra: str
    what: str


COMMANDS: Final = {
    "audit": Command("grpc_tracing.commands.audit", "audit", "say which services cut traces, from a backend's spans"),
    "check": Command(
        "grpc_tracing.commands.check", "probe", "call a method of any service, and say where its trace is cut"
    ),
    "fetch": Command("grpc_tracing.commands.fetch", "audit", "keep a backend's spans in a file"),
    "store": Command("grpc_tracing.store.cli", "store", "run the trace store: spans in, query API and pages out"),
    "watch": Command("grpc_tracing.watch.cli", "watch", "audit all the time, as metrics for Prometheus"),
}


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Runs a command and returns its exit code."""
    name, *rest = arguments or ("--help",)
    if name in {"-h", "--help"}:
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        sys.stdout.write(f"grpc-tracing {VERSION}\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"grpc-tracing: {name!r} is not a command: use {', '.join(COMMANDS)}, or --help\n")
        return 2
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("grpc_tracing"):
            raise
        sys.stderr.write(
            f"grpc-tracing: {name} needs {error.name}, which is not installed: "
            f"pip install 'grpc-tracing[{command.extra}]'\n"
        )
        return 2
    code: int = module.main(arguments)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.what}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: grpc-tracing [--version] COMMAND ...", "", "commands:", *lines, "", "grpc-tracing COMMAND --help", ""]
    )
