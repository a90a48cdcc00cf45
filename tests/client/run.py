"""Running the requester as a user does."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

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


def client(*arguments: str, env: dict[str, str] | None = None, limit: float = 60.0) -> Finished:
    """Runs `python -m client` to its end."""
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


async def client_beside(*arguments: str, env: dict[str, str] | None = None) -> Finished:
    """`client` for tests that serve a hop themselves while it runs."""
    return await asyncio.to_thread(client, *arguments, env=env)
