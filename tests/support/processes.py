"""Real processes of this repository, started as users start them, and ended by pid."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


def runs(pid: int) -> bool:
    """Whether it is there and has not ended: a zombie only waits to be read."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Service:
    """A running ``python -m svcN`` whose standard error goes to `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines written so far."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def addresses(self) -> list[str]:
        """The addresses bound, once the service has said so."""
        return list(wait_for(self._listening, f"{self.process.args!r} listens; it said: {self.log.read_text()}"))

    def _listening(self) -> list[str]:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log.read_text()}"
        return next((line["addresses"] for line in self.lines() if line.get("event") == "listening"), [])

    def stop(self, number: int = signal.SIGTERM, limit: float = 60.0) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(limit)


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment without its TALK_* and proxy variables, and with `settings`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TALK_")}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


@contextmanager
def service(module: str, log: Path, **settings: str) -> Iterator[Service]:
    """Runs ``python -m module`` with ``TALK_<SETTING>=value``, ready or not; kills it at the end."""
    with started([sys.executable, "-m", module], log, variables(settings)) as one:
        yield one


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment's names for a service's settings."""
    return {f"TALK_{key.upper()}": value for key, value in settings.items()}


@contextmanager
def started(command: Sequence[str], log: Path, own: dict[str, str]) -> Iterator[Service]:
    """A service by its command, with `own` variables; killed at the end."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stderr=errors,
            env=environment(own),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield Service(process, log)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Chain:
    """svc1, svc2 and svc3, each its own process, listening on Unix sockets but the first, on TCP."""

    services: Mapping[str, Service]
    target: str

    def __getitem__(self, name: str) -> Service:
        return self.services[name]


@contextmanager
def chain(folder: Path, **settings: Mapping[str, str]) -> Iterator[Chain]:
    """The three services, ready; `settings` are per service: ``chain(tmp, svc2={"propagate": "none"})``."""
    sockets = {name: f"unix:{folder}/{name}" for name in ("svc2", "svc3")}
    defaults: dict[str, dict[str, str]] = {
        "svc3": {"listen": sockets["svc3"]},
        "svc2": {"listen": sockets["svc2"], "next_hop": sockets["svc3"]},
        "svc1": {"listen": "127.0.0.1:0", "next_hop": sockets["svc2"]},
    }
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(service(name, folder / f"{name}.log", **(default | dict(settings.get(name, {})))))
            for name, default in defaults.items()
        }
        addresses = {name: one.addresses for name, one in running.items()}
        yield Chain(running, addresses["svc1"][0])
