"""A command on a terminal of its own."""

import os
import pty
import subprocess
import sys
from dataclasses import dataclass

from tests.support.processes import ROOT, environment


@dataclass(frozen=True)
class OnTerminal:
    """An ended command and all that its terminal showed."""

    code: int
    shown: str


def client_on_terminal(*arguments: str, columns: int = 100, env: dict[str, str] | None = None) -> OnTerminal:
    """Runs `python -m client` with a terminal as its standard output and error."""
    ours, theirs = pty.openpty()
    settings = {"COLUMNS": str(columns), "TERM": "xterm-256color"} | (env or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "client", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={key: value for key, value in environment(settings).items() if key != "NO_COLOR" or key in settings},
    )
    os.close(theirs)
    try:
        return OnTerminal(shown=_read_to_end(ours), code=process.wait(60))
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _read_to_end(descriptor: int) -> str:
    chunks = []
    try:
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # Linux reports EIO once the other side is closed
    return b"".join(chunks).decode()
