"""Callers that go on whatever happens, and write down how each call ended."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc

from tests.support.stub import Stub, ask, connect
from tests.support.waiting import wait_for

DEADLINE = 5.0

Call = Callable[[Stub], object]

RPCS: dict[str, Call] = {
    "Talk": lambda stub: stub.talk(ask("0"), timeout=DEADLINE),
    "TalkOneAnswerMore": lambda stub: list(stub.talk_one_answer_more(ask("0,1,2"), timeout=DEADLINE)),
    "TalkMoreAnswerOne": lambda stub: stub.talk_more_answer_one(iter([ask("0")] * 3), timeout=DEADLINE),
    "TalkBidirectional": lambda stub: list(stub.talk_bidirectional(iter([ask("0")] * 3), timeout=DEADLINE)),
}


class Ending(NamedTuple):
    rpc: str
    code: grpc.StatusCode
    details: str
    seconds: float


class Callers:
    """Threads that each call in a loop, on a connection of their own."""

    def __init__(self, target: str, rpcs: Sequence[str] = tuple(RPCS)) -> None:
        self._target = target
        self._rpcs = rpcs
        self._stop = threading.Event()
        self.endings: list[Ending] = []

    def _go_on(self) -> None:
        with connect(self._target, initial_reconnect_backoff_ms=50, max_reconnect_backoff_ms=500) as stub:
            for rpc in itertools.cycle(self._rpcs):
                if self._stop.is_set():
                    return
                self.endings.append(_call(stub, rpc))
                self._stop.wait(0.02)  # the machine is to be disturbed, not filled

    @contextmanager
    def running(self, threads: int = 6) -> Iterator["Callers"]:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(self._go_on)
            try:
                yield self
            finally:
                self._stop.set()

    def go_on(self, calls: int = 30) -> None:
        """Waits until so many more calls have ended."""
        goal = len(self.endings) + calls
        wait_for(lambda: len(self.endings) >= goal, f"{calls} more calls end", timeout=60)

    @property
    def codes(self) -> Counter[str]:
        return Counter(ending.code.name for ending in self.endings)

    @property
    def failed(self) -> Counter[str]:
        """How often each failure was seen, as its status and text."""
        return Counter(f"{one.code.name}: {one.details}" for one in self.endings if one.code is not grpc.StatusCode.OK)


def _call(stub: Stub, rpc: str) -> Ending:
    began = time.monotonic()
    try:
        RPCS[rpc](stub)
    except grpc.RpcError as raised:
        error: Any = raised
        return Ending(rpc, error.code(), error.details() or "", time.monotonic() - began)
    return Ending(rpc, grpc.StatusCode.OK, "", time.monotonic() - began)
