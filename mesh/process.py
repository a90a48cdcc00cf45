"""One child process of the supervisor: started so that it cannot outlive it, and ended."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.errors import MeshError
from mesh.plan import WIRING, Process

_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A process that was started, whether or not it still runs."""

    plan: Process
    popen: subprocess.Popen[bytes]
    started: float  # Unix time, s

    @property
    def runs(self) -> bool:
        return self.popen.poll() is None

    def how_it_ended(self) -> str:
        code = self.popen.poll()
        if code is None:
            return "runs"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def ask_to_end(self) -> None:
        """SIGTERM, and SIGCONT for one that somebody stopped. Safe: a child's pid is not reused before it is reaped."""
        if self.runs:
            self.popen.send_signal(signal.SIGTERM)
            self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.runs:
            self.popen.kill()


def start(plan: Process, log: Path) -> Child:
    """Start a process, its output at the end of a log file.

    MeshError where there is no such program.
    """
    for path in plan.sockets:
        path.unlink(missing_ok=True)
    try:
        return Child(plan, _popen(plan, log), time.time())
    except OSError as error:
        raise MeshError(f"cannot run {plan.command[0]} as {plan.name}: {error.strerror}") from error


def _popen(plan: Process, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            plan.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=plan.folder,
            env={key: value for key, value in os.environ.items() if not key.startswith(WIRING)} | plan.environment,
            start_new_session=True,
            # Unsafe with threads, and the supervisor has none.
            preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _die_with(supervisor: int) -> Callable[[], None]:
    """What the child does before exec: have the kernel kill it when the supervisor's thread ends, however that ends."""
    libc: Any = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it ended before the line above
            os._exit(1)

    return prepare


def last_words(log: Path, limit: int = 400) -> str:
    """The last line of a log that says anything, cut to a bearable length."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:limit] if lines else ""
    return ""
