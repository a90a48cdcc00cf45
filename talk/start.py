"""The way in: what has to be said before gRPC is imported."""

import os
from pathlib import Path


def main(file: Path | None) -> int:
    """Runs the service of one YAML file, or of variables alone, until SIGTERM or Ctrl-C; returns the exit code."""
    # gRPC's core writes lines of its own past any logging; what they say comes back as statuses and errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from talk.server import run  # noqa: PLC0415 (the core reads the variable when it is imported)

    return run(file)
