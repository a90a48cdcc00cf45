"""Calls that go on beside what a test does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from tests.support.stub import ask, connect
from tests.support.waiting import wait_for


class Load:
    """Unary calls, `at_once` in flight, until told to stop; counts those that are done and keeps what failed."""

    def __init__(self, target: str, at_once: int = 1) -> None:
        self._target = target
        self._at_once = at_once
        self._stop = threading.Event()
        self.done = 0
        self.failed: list[str] = []

    def _call(self) -> None:
        failed = False
        with connect(self._target) as stub:
            while not self._stop.is_set():
                try:
                    # After a failure gRPC tells the same one again until it connects anew.
                    stub.talk(ask("0"), timeout=20, wait_for_ready=failed)
                    self.done += 1
                    failed = False
                except grpc.RpcError as error:
                    self.failed.append(f"{error.code()}: {error.details()}")
                    failed = True

    @contextmanager
    def running(self) -> Iterator[Load]:
        with ThreadPoolExecutor(self._at_once) as pool:
            for _ in range(self._at_once):
                pool.submit(self._call)
            try:
                yield self
            finally:
                self._stop.set()

    def goes_on(self, calls: int = 200) -> None:
        """Waits until `calls` more calls have succeeded."""
        goal = self.done + calls
        wait_for(lambda: self.done >= goal or len(self.failed) > 10, f"{calls} more calls", timeout=60)
