"""Running the requester as a user does."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from client.call import run as call
from client.call.drive import Tell
from client.cli import call_options, parser
from tests.support.processes import ROOT, environment


@dataclass(frozen=True)
class Finished:
    """A command that has ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def notes(self) -> list[str]:
        """What it says on standard error, without the progress that it tells of a call that takes long."""
        return [line for line in self.err.splitlines() if not line.startswith("calling ")]


def client(*arguments: str, env: dict[str, str] | None = None, limit: float = 180.0) -> Finished:
    """Runs `python -m client` to its end. Only a hang takes longer than the limit, on a busy machine too."""
    ended = subprocess.run(
        [sys.executable, "-m", "client", *arguments],
        capture_output=True,
        cwd=ROOT,
        env=environment(env or {}),
        stdin=subprocess.DEVNULL,
        timeout=limit,
        check=False,
    )
    return Finished(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def judged(*arguments: str) -> call.Run:
    """`client call` in this process, which starts in no time: what it found, before anything is printed."""
    return asyncio.run(judged_beside(*arguments))


async def judged_beside(*arguments: str) -> call.Run:
    """`judged` beside others of its kind."""
    return await call.run(call_options(parser().parse_args(["call", *arguments])), _in_silence)


@asynccontextmanager
async def _in_silence(_: str) -> AsyncIterator[Tell]:
    yield lambda _: None


async def client_beside(*arguments: str, env: dict[str, str] | None = None) -> Finished:
    """`client` for tests that serve a hop themselves while it runs."""
    return await asyncio.to_thread(client, *arguments, env=env)
