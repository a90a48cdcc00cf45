"""Callers that vanish in the middle of an upload, and what the last hop's log says of each upload."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.wire import MESSAGE, WireCaller

UPLOADS = ("TalkMoreAnswerOne", "TalkBidirectional")
LONGEST = 0.1
"""Seconds from an upload's first message to its cut, at most: some are cut before they reach the last hop."""

_MARK = "c0de" * 4
"""Begins the trace ids of these uploads."""


class VanishingCallers:
    """Each begins an upload on a connection of its own, and resets the connection some moment later."""

    def __init__(self, target: str, every: float) -> None:
        """`every`: seconds from one caller to the next."""
        self._target = target
        self._every = every
        self._over = threading.Event()
        self._moments = random.Random(13)  # noqa: S311 (moments, no secrets)
        self.begun: list[str] = []
        """The trace ids of the cut uploads."""

    def run(self) -> None:
        """OSError where the target takes no connection."""
        start = time.monotonic()
        for number in itertools.count(1):
            if self._over.wait(max(0.0, start + number * self._every - time.monotonic())):
                return
            self._cut(UPLOADS[number % len(UPLOADS)])

    def stop(self) -> None:
        self._over.set()

    def _cut(self, rpc: str) -> None:
        trace_id = _trace_id(len(self.begun) + 1)
        caller, stream = _begin(self._target, rpc, trace_id)
        self.begun.append(trace_id)
        time.sleep(self._moments.uniform(0, LONGEST))
        caller.send(stream, MESSAGE)
        caller.abort()


@contextmanager
def vanishing_callers(target: str, rate: float) -> Iterator[VanishingCallers]:
    """So many a second, until the block ends; raises what kept them from going on."""
    callers = VanishingCallers(target, 1 / rate)
    with ThreadPoolExecutor(1) as pool:
        running: Future[None] = pool.submit(callers.run)
        try:
            yield callers
        finally:
            callers.stop()
        running.result()


@contextmanager
def complete_upload(target: str) -> Iterator[str]:
    """One that comes to its end; gives its trace id."""
    trace_id = _trace_id(0)
    caller, stream = _begin(target, UPLOADS[0], trace_id)
    try:
        caller.half_close(stream)
        yield trace_id
    finally:
        caller.vanish()


class LastHops:
    """How the uploads ended for the last hops, by what they log. The mesh cuts a log that has grown long."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._read = dict.fromkeys(logs, 0)
        self._codes: dict[str, set[str]] = {}

    def read(self) -> None:
        """Takes in what is new: call it more often than a log takes to fill."""
        for log in self._read:
            if log.stat().st_size < self._read[log]:
                self._note(log.with_suffix(".log.1").read_bytes())
                self._read[log] = 0
            self._read[log] += self._note(_from(log, self._read[log]))

    def ended(self, trace_id: str, code: str) -> bool:
        return code in self._codes.get(trace_id, ())

    def taken_for_whole(self, trace_ids: Sequence[str]) -> list[str]:
        return [one for one in trace_ids if self.ended(one, "OK")]

    def seen(self, trace_ids: Sequence[str]) -> int:
        return sum(one in self._codes for one in trace_ids)

    def _note(self, text: bytes) -> int:
        """Gives the bytes of the whole lines in it."""
        whole = text.rpartition(b"\n")[0] + b"\n" if b"\n" in text else b""
        for line in whole.splitlines():
            if _MARK.encode() in line:
                call = json.loads(line)
                self._codes.setdefault(call["trace_id"], set()).add(call["code"])
        return len(whole)


def _from(log: Path, position: int) -> bytes:
    with log.open("rb") as file:
        file.seek(position)
        return file.read()


def _trace_id(number: int) -> str:
    return f"{_MARK}{number:016x}"


def _begin(target: str, rpc: str, trace_id: str) -> tuple[WireCaller, int]:
    caller = WireCaller(target)
    return caller, caller.begin(rpc, more=[("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01")])
