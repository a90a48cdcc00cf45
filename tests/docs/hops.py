"""Hops of the guide's, run as its readers run them: programs with TALK_LISTEN and TALK_NEXT_HOP."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from scripts.examples import Command
from tests.support.processes import ROOT, environment
from tests.support.waiting import wait_for


@contextmanager
def hop(command: Command, listen: str, next_hop: str, log: Path) -> Iterator[str]:
    """Gives the address once something answers there; kills the program at the end."""
    with running(command, listen, next_hop, log):
        yield listen


@contextmanager
def running(command: Command, listen: str, next_hop: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The same for one who needs the process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment({"TALK_LISTEN": listen, "TALK_NEXT_HOP": next_hop}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: _answers(process, listen, log), f"{listen} answers", timeout=60)
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    assert process.poll() is None, f"ended with {process.returncode}: {log.read_text()}"
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=0.5)
        except grpc.FutureTimeoutError:
            return False
    return True
