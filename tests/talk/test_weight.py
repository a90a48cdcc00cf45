"""What a long stream weighs, and that nothing is left of one whose caller vanishes."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from tests.support.processes import Chain, chain
from tests.support.stub import ask, connect
from tests.support.vanishing import streaming_caller
from tests.support.waiting import wait_for

MESSAGES = 50_000
STALL_SECONDS = 10.0
MOST_RSS = 80 * 1000 * 1000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    on = {"channelz": "on"}
    with chain(tmp_path_factory.mktemp("chain"), svc1=on, svc2=on, svc3=on) as services:
        yield services


class Scale:
    """Samples the resident memory of processes until the block ends."""

    def __init__(self, chain: Chain) -> None:
        self._processes = {name: psutil.Process(one.process.pid) for name, one in chain.services.items()}
        self.most = dict.fromkeys(self._processes, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            for name, process in self._processes.items():
                self.most[name] = max(self.most[name], process.memory_info().rss)

    def __enter__(self) -> "Scale":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_long_stream_against_a_reader_that_stalls_weighs_little(running: Chain) -> None:
    request = ask("0", "m" * 1024)
    with connect(running.target) as stub, Scale(running) as scale:
        call = stub.talk_bidirectional((request for _ in range(MESSAGES)), timeout=280)
        next(call)
        # The stall is what is tested: the reader does nothing for as long as the contract says.
        threading.Event().wait(STALL_SECONDS)
        assert 1 + sum(1 for _ in call) == MESSAGES
    assert max(scale.most.values()) < MOST_RSS, scale.most


def test_nothing_is_left_of_a_stream_whose_caller_vanishes(running: Chain) -> None:
    ended = {name: _streams_ended(running, name) for name in running.services}
    targets = [one.addresses[0] for one in running.services.values()]
    with streaming_caller(running.target):
        assert all(_calls_open(target) for target in targets)
    wait_for(lambda: not any(_calls_open(target) for target in targets), "every hop's call has ended", timeout=10)
    for name in ("svc1", "svc2", "svc3"):
        wait_for(partial(_has_ended, running, name, ended[name]), f"{name} has logged the end")


def _has_ended(running: Chain, name: str, before: int) -> bool:
    return _streams_ended(running, name) > before


def _streams_ended(running: Chain, name: str) -> int:
    return sum(str(line.get("rpc")).endswith("Bidirectional") for line in running[name].lines())


def _calls_open(target: str) -> int:
    """Calls to Talk that the server at `target` has begun and not ended, as channelz counts them."""
    with connect(target) as stub:
        channelz: Any = channelz_pb2_grpc.ChannelzStub(stub.channel)
        data = channelz.GetServers(channelz_pb2.GetServersRequest(), timeout=20).server[0].data
        asking = 1  # this very question
        return int(data.calls_started - data.calls_succeeded - data.calls_failed - asking)
