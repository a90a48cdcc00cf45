"""What a strange request does to the calls beside it: nothing. A long call and many short ones live through all."""

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hostile.peer import MESSAGE, REQUEST, Headers, Peer, changed
from tests.mesh.support import mesh
from tests.support.cells import cells
from tests.support.load import Load
from tests.support.processes import chain
from tests.support.stub import Stub, ask, connect
from tests.support.waiting import wait_for

TALK = b"/org.feuyeux.grpc.LandingService/Talk"
NO_UTF8 = (TALK + b"?\xff", b"/\xff\xfe", TALK + b"\xff", TALK + b"/\xc3", b"/\xed\xa0\x80")
SEED = 20261127
FUZZED = 300


@pytest.fixture(scope="module", params=["svc1", "ingress"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "ingress":
        with mesh("--tracer", "none") as one:
            yield one.target
    else:
        with chain(tmp_path_factory.mktemp("chain")) as services:
            yield services.target


class LongCall:
    """A bidirectional call that goes on, an answer for each request, as long as the test does."""

    def __init__(self, stub: Stub) -> None:
        self._ask = threading.Semaphore(0)
        self._ended = False
        self._call: Any = stub.talk_bidirectional(self._requests())
        self.goes_on()

    def _requests(self) -> Iterator[bytes]:
        while self._ask.acquire() and not self._ended:
            yield ask("0")

    def goes_on(self) -> None:
        """Sends a request and waits for its answer; raises what has ended the call."""
        self._ask.release()
        assert next(self._call)

    def end(self) -> list[bytes]:
        self._ended = True
        self._ask.release()
        return list(self._call)


@contextmanager
def long_call(target: str) -> Iterator[LongCall]:
    with connect(target) as stub:
        call = LongCall(stub)
        yield call
        assert call.end() == []


@pytest.mark.parametrize("path", cells(NO_UTF8, NO_UTF8[:1]))
def test_a_path_that_is_no_utf8_harms_no_call_beside_it(target: str, path: bytes) -> None:
    short = Load(target)
    with long_call(target) as call, short.running():
        wait_for(lambda: short.done > 0, "the first call beside it")
        for _ in range(5):
            assert ended(target, changed(_path=path)) != "grpc 0"
            call.goes_on()
    check_unharmed(short, strange=5)


def check_unharmed(short: Load, strange: int) -> None:
    """At svc1 alone, calls that come in the very moment of a strange one are cancelled: gRPC's core has them queued.

    A connection that is made in that moment is reset: the kernel has it queued for the listener that closes.
    """
    others = [one for one in short.failed if one != "StatusCode.CANCELLED: CANCELLED"]
    assert [one for one in others if "failed to connect" not in one or "reset by peer" not in one] == []
    assert len(short.failed) <= strange


def ended(target: str, headers: Headers) -> str:
    with Peer(target) as peer:
        return peer.ask(headers)


@pytest.mark.full
@pytest.mark.parametrize("seed", [SEED])
def test_strange_headers_and_trailers_harm_no_call_beside_them(target: str, seed: int) -> None:
    strange = random.Random(seed)  # noqa: S311 (the same requests each time)
    requests = [fuzzed(strange) for _ in range(FUZZED)]
    short = Load(target)
    with long_call(target) as call, short.running(), ThreadPoolExecutor(8) as pool:
        for start in range(0, FUZZED, 20):
            list(pool.map(lambda one: _send(target, *one), requests[start : start + 20]))
            call.goes_on()
    check_unharmed(short, strange=FUZZED)


def fuzzed(strange: random.Random) -> tuple[Headers, Headers]:
    """Headers of a request of which one or two are not as they should be, and trailers or none."""
    headers = list(REQUEST)
    for _ in range(strange.randint(1, 2)):
        strange.choice((_alter, _drop, _double, _add))(strange, headers)
    trailers = [(_name(strange), _value(strange))] if strange.random() < 0.3 else []
    return headers, trailers


def _alter(strange: random.Random, headers: list[tuple[bytes, bytes]]) -> None:
    at = strange.randrange(len(headers))
    name, value = headers[at]
    cut = strange.randint(0, len(value))
    headers[at] = (name, value[:cut] + _value(strange) + value[cut + strange.randint(0, 2) :])


def _drop(strange: random.Random, headers: list[tuple[bytes, bytes]]) -> None:
    if headers:
        headers.pop(strange.randrange(len(headers)))


def _double(strange: random.Random, headers: list[tuple[bytes, bytes]]) -> None:
    if headers:
        headers.insert(strange.randint(0, len(headers)), strange.choice(headers))


def _add(strange: random.Random, headers: list[tuple[bytes, bytes]]) -> None:
    headers.insert(strange.randint(0, len(headers)), (_name(strange), _value(strange)))


KNOWN = (
    b":path", b":method", b":authority", b":scheme", b":status", b":protocol", b":strange", b"te", b"host",
    b"content-type", b"content-length", b"connection", b"transfer-encoding", b"grpc-timeout", b"grpc-encoding",
    b"grpc-accept-encoding", b"grpc-status", b"grpc-message", b"grpc-tags-bin", b"grpc-trace-bin", b"traceparent",
    b"tracestate", b"baggage", b"x-request-id", b"b3", b"x-b3-traceid", b"x-lane", b"some-bin", b"user-agent",
)  # fmt: skip


def _name(strange: random.Random) -> bytes:
    return strange.choice(KNOWN) if strange.random() < 0.8 else _bytes(strange, 12)


def _value(strange: random.Random) -> bytes:
    ready: Sequence[bytes] = (b"", b"\xff", b"?\xff", b"\0", b"\r\n", b"a" * 5000, "日本".encode(), TALK, b"1S", b"-1")
    return strange.choice(ready) if strange.random() < 0.6 else _bytes(strange, 20)


def _bytes(strange: random.Random, most: int) -> bytes:
    return strange.randbytes(strange.randint(0, most))


def _send(target: str, headers: Headers, trailers: Headers) -> None:
    """A request on a connection of its own, and whatever comes of it, within a second."""
    with Peer(target, patience=1.0) as peer:
        peer.ask(headers, MESSAGE, trailers)
