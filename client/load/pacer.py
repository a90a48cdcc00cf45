"""The intended starts of an open loop, kept to a fraction of a millisecond."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterable


def evenly(first: float, interval: float, count: int) -> Iterable[float]:
    """One every `interval` seconds."""
    return (first + number * interval for number in range(count))


def at_random(first: float, seconds: float, count: int, chance: random.Random) -> Iterable[float]:
    """Arrivals of a Poisson process of which `seconds` saw `count`: each anywhere, whatever the others do."""
    return sorted(first + chance.uniform(0, seconds) for _ in range(count))


class Pacer:
    """Calls `due(intended)` on the event loop for each of `starts`, in seconds of the monotonic clock, in order.

    The waiting is a thread's: an event loop's own timers are only as fine as a millisecond.
    """

    def __init__(self, starts: Iterable[float], due: Callable[[float], None]) -> None:
        self._starts = starts
        self._due = due
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Returns once the last start was due, or after `stop`."""
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=self._wait, args=(loop, finished), daemon=True)
        thread.start()
        await finished.wait()

    def stop(self) -> None:
        self._stopped.set()

    def _wait(self, loop: asyncio.AbstractEventLoop, finished: asyncio.Event) -> None:
        for intended in self._starts:
            while (pause := intended - time.monotonic()) > 0 and not self._stopped.is_set():
                time.sleep(min(pause, 0.5))
            if self._stopped.is_set():
                break
            loop.call_soon_threadsafe(self._due, intended)
        loop.call_soon_threadsafe(finished.set)
