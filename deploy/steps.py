"""What the places have in common: they say each step in a line, run other programs, and start the requester."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from grpc_tracing.printable import printable
from mesh.errors import MeshError

ROOT = Path(__file__).parent.parent

_LAYOUT = "\n\t"  # stays as it is in other programs' words

Done = subprocess.CompletedProcess[str]


class DeployError(Exception):
    """It cannot be done; the message begins with a line that names the cause or the fix."""


def say(place: str, text: str) -> None:
    """A step, or what went wrong, with other programs' words and the logs of pods in it."""
    sys.stderr.write(f"{place}: {printable(text, keep=_LAYOUT)}\n")
    sys.stderr.flush()


def carry_out(place: str, work: Callable[[], int], failed: int) -> int:
    """Exit code: what `work` returns, `failed` where it cannot be done, 130 after Ctrl-C.

    SIGTERM ends it as Ctrl-C does, with what it started, and 143.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        return work()
    except (DeployError, MeshError) as error:
        say(place, str(error))
        return failed
    except KeyboardInterrupt:
        say(place, "interrupted")
        return 130


def _end(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def need(program: str, fix: str) -> None:
    if shutil.which(program) is None:
        raise DeployError(f"{program} is not installed: {fix}")


def run(command: list[str], *, given: str | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Runs a program to its end and keeps what it says; without input unless some is given."""
    return subprocess.run(
        command,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def follow(command: list[str], tell: Callable[[str], None], *, environment: Mapping[str, str]) -> Done:
    """Runs a program to its end like `run`, both its outputs as one, and hands each line over as it comes."""
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            tell(line.rstrip())
    return Done(command, process.returncode, stdout="", stderr="".join(lines))


def last_line(done: Done) -> str:
    """The last thing that a program said, for an error message."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def names_target(arguments: list[str]) -> bool:
    """Whether the user tells the requester whom to call."""
    return any(one == "--target" or one.startswith("--target=") for one in arguments)


def call_requester(arguments: list[str]) -> int:
    """All four patterns, unless the arguments say otherwise; the requester's exit code."""
    # In the user's folder, so that paths among the arguments mean what they say, and yet with our packages.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "client", "call", "--rpc", "all", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode
