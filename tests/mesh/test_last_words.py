"""What a process of the mesh says is shown, and steers no terminal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.support import ANY_PORTS, Mesh, mesh, state_directory
from tests.support.processes import ROOT, environment

EVIL = r"\033[2Jgone\rhidden\000\302\233" + r"\342\200\256turned"  # as printf takes it: ESC, CR, NUL, CSI, a bidi mark
SHOWN = r"\x1b[2Jgone"
TURNED = r"\u202eturned"


def saying(words: str, then: str) -> tuple[str, ...]:
    return ("--no-mesh", "--run", f"""svc2=sh -c "printf '{words}\\n'; {then}" """.strip())


def test_last_words_of_a_process_that_ended_are_spelled_out() -> None:
    with state_directory() as state:
        done = Mesh(state).run("up", *ANY_PORTS, *saying(EVIL, "exit 1"))
    assert done.returncode == 1
    assert done.stderr.startswith("mesh: svc2 ended with exit code 1: ")
    assert TURNED in done.stderr
    assert done.stderr.removesuffix("\n").isprintable()


@pytest.fixture(scope="module")
def talkative() -> Iterator[Mesh]:
    with mesh(*saying(EVIL, f"exec '{sys.executable}' -m svc2")) as one:
        yield one


def test_logs_are_spelled_out(talkative: Mesh) -> None:
    printed = talkative.run("logs", "svc2").stdout
    assert SHOWN in printed
    assert TURNED in printed
    assert all(line.isprintable() for line in printed.splitlines())


def test_logs_that_are_followed_are_spelled_out_and_end_with_ctrl_c(talkative: Mesh) -> None:
    command = [sys.executable, "-m", "mesh", "logs", "--state", str(talkative.state), "-f", "svc2"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as following:
        assert following.stdout
        first = following.stdout.readline().decode()
        log = Path(talkative.state / "logs" / "svc2.log")
        with log.open("a") as file:
            file.write("later \x1b[31m\n")
        later = next(line.decode() for line in following.stdout if b"later" in line)
        os.killpg(following.pid, signal.SIGINT)
        assert following.wait(10) == 130
    assert SHOWN in first
    assert later == "later \\x1b[31m\n"
