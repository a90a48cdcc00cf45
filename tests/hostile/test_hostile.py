"""svc1 and the ingress against peers that break the rules: everybody else is served, nothing grows, nothing crashes."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest

from tests.hostile.attacks import ATTACKS, BROKEN, bomb
from tests.hostile.peer import CLOSED, MESSAGE, REQUEST, SILENT, Headers, Peer, changed
from tests.mesh.support import call, mesh
from tests.support.cells import cells
from tests.support.processes import ROOT, chain, environment, runs, service
from tests.support.waiting import wait_for

MOST_RSS = 200 * 1000 * 1000
# The target is 1 s; on a busy machine only a hang takes longer than this.
PATIENCE = 10.0


@dataclass(frozen=True)
class Place:
    """Where hostile peers connect to, and what stands behind."""

    name: str
    target: str
    pids: Mapping[str, int]
    logs: Path

    def rss(self) -> dict[str, int]:
        return {name: int(psutil.Process(pid).memory_info().rss) for name, pid in self.pids.items()}


@contextmanager
def _services(folder: Path) -> Iterator[Place]:
    with chain(folder) as services:
        pids = {name: one.process.pid for name, one in services.services.items()}
        yield Place("svc1", services.target, pids, folder)


@contextmanager
def _mesh() -> Iterator[Place]:
    with mesh() as one:
        yield Place("ingress", one.target, one.pids, one.state / "logs")


@pytest.fixture(scope="module", params=cells(["svc1", "ingress"], ["ingress"]))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with _mesh() if request.param == "ingress" else _services(tmp_path_factory.mktemp("chain")) as place:
        yield place


def test_a_normal_request_is_answered(place: Place) -> None:
    with Peer(place.target) as peer:
        assert peer.ask() == "grpc 0"


@dataclass(frozen=True)
class Case:
    """A request, and the endings that are right for it: svc1's own, and those at the ingress where they differ."""

    headers: Headers
    body: bytes
    endings: Sequence[str]
    at_the_ingress: Sequence[str] = ()


UNIMPLEMENTED, INTERNAL, EXHAUSTED, EXPIRED, OK = ("grpc 12",), ("grpc 13",), ("grpc 8",), ("grpc 4",), ("grpc 0",)
REFUSED = ("reset 1", "reset 2", "grpc 12", "grpc 13", "grpc 14", CLOSED)
LENIENT = (*OK, *REFUSED)
"""gRPC's core takes what Envoy refuses, and the other way round: both are answers."""
UNFINISHED = (SILENT, *REFUSED, "grpc 3")
"""A call whose one message never comes whole may wait for it, as long as its caller is there."""

COMPRESSED = b"\1" + MESSAGE[1:]
BAD_TIMEOUTS = (b"-1S", b"-99999999H", b"abc", b"S", b"1", b"1X", b"1e3S", b"0.5S", b"\xff", b"0S")
BAD_VALUES = (b"\xe4\xf6", b"\xff" * 100, "日本".encode(), b"a\0b", b"a\r\nb: c", b"\x7f", b"\x80")

CASES: dict[str, Case] = {
    "unknown method": Case(changed(_path=b"/org.feuyeux.grpc.LandingService/Nope"), MESSAGE, UNIMPLEMENTED),
    "unknown service": Case(changed(_path=b"/nope.Nope/Nope"), MESSAGE, UNIMPLEMENTED),
    "path of one name": Case(changed(_path=b"/nope"), MESSAGE, UNIMPLEMENTED),
    "path without slash": Case(changed(_path=b"nope"), MESSAGE, REFUSED),
    "empty path": Case(changed(_path=b""), MESSAGE, REFUSED),
    "no path": Case(changed(_path=None), MESSAGE, REFUSED),
    "GET": Case(changed(_method=b"GET"), MESSAGE, REFUSED, INTERNAL),
    "no te": Case(changed(te=None), MESSAGE, REFUSED, INTERNAL),
    "text/plain": Case(changed(content_type=b"text/plain"), MESSAGE, LENIENT, ("http 400",)),
    "JSON": Case(changed(content_type=b"application/json"), MESSAGE, LENIENT, ("http 400",)),
    "no content type": Case(changed(content_type=None), MESSAGE, LENIENT, ("http 400",)),
    "unknown compression": Case(changed(grpc_encoding=b"zz"), COMPRESSED, (*INTERNAL, *UNIMPLEMENTED)),
    "compressed without saying how": Case(REQUEST, COMPRESSED, INTERNAL),
    "compressed garbage": Case(changed(grpc_encoding=b"gzip"), COMPRESSED, INTERNAL),
    "compressed bomb": Case(changed(grpc_encoding=b"gzip"), bomb(256 << 20), EXHAUSTED, (*EXHAUSTED, *INTERNAL)),
    "message beyond the limit": Case(REQUEST, b"\0\xff\xff\xff\xffabc", EXHAUSTED),
    "message that is no message": Case(REQUEST, b"\0\0\0\0\3\xff\xff\xff", INTERNAL),
    "message cut short": Case(REQUEST, b"\0\0\0\0\x09abc", UNFINISHED),
    "no message": Case(REQUEST, b"", UNFINISHED),
    "headers of 20 KB": Case([*REQUEST, (b"x-lane", b"a" * 20_000)], MESSAGE, EXHAUSTED),
    "headers of 200 KB": Case([*REQUEST, (b"x-lane", b"a" * 200_000)], MESSAGE, EXHAUSTED, REFUSED),
    "name in capitals": Case([*REQUEST, (b"X-Lane", b"a")], MESSAGE, LENIENT),
    "name with a space": Case([*REQUEST, (b"x lane", b"a")], MESSAGE, LENIENT),
    "binary that is no base64": Case(changed(some_bin=b"!!!"), MESSAGE, INTERNAL),
    **{
        f"timeout {value!r}": Case(changed(grpc_timeout=value), MESSAGE, (*INTERNAL, *EXPIRED))
        for value in BAD_TIMEOUTS
    },
    **{f"value {value[:4]!r}": Case(changed(x_lane=value), MESSAGE, OK, LENIENT) for value in BAD_VALUES},
    **{f"traceparent {value[:4]!r}": Case(changed(traceparent=value), MESSAGE, OK, LENIENT) for value in BAD_VALUES},
}


def test_a_malformed_request_is_answered_with_its_error_and_harms_nobody_else(place: Place) -> None:
    with ThreadPoolExecutor(len(CASES)) as pool:
        endings = pool.map(lambda case: _ending(place.target, case), CASES.values())
        if place.name == "ingress":
            assert [call(place.target, timeout=PATIENCE).code for _ in range(20)] == [grpc.StatusCode.OK] * 20
        wrong = {
            name: ending
            for (name, case), ending in zip(CASES.items(), endings, strict=True)
            if ending not in ((place.name == "ingress" and case.at_the_ingress) or case.endings)
        }
    assert wrong == {}
    _check_served(place)
    _check_unharmed(place, place.rss())


def _ending(target: str, case: Case) -> str:
    with Peer(target) as peer:
        return peer.ask(case.headers, case.body)


NO_UTF8 = changed(_path=b"/\xff\xfe")


def test_a_path_that_is_no_utf8_ends_at_the_ingress() -> None:
    with mesh("--tracer", "none") as one:
        with Peer(one.target) as peer:
            assert peer.ask(NO_UTF8) == "grpc 12"
        assert call(one.target, timeout=PATIENCE).path == ["svc1", "svc2", "svc3"]


@pytest.mark.parametrize("kind", ["TCP", "Unix socket"])
def test_a_service_alone_is_back_after_a_path_that_is_no_utf8(tmp_path: Path, kind: str) -> None:
    both = f"127.0.0.1:0,unix:{tmp_path}/svc3"
    with service("svc3", tmp_path / "log", listen=both) as svc3:
        tcp, unix = svc3.addresses
        place = tcp if kind == "TCP" else unix
        for _ in range(3):
            with Peer(tcp) as peer:
                assert peer.ask(NO_UTF8) != "grpc 0"
            # A call that reaches the server as it dies may wait for its deadline in vain: this asks for a next one.
            wait_for(lambda: call(place, timeout=PATIENCE / 4).code is grpc.StatusCode.OK, "it serves", PATIENCE)
        assert svc3.stop() == 0
        assert "Traceback" not in svc3.log.read_text()


def test_the_ingress_closes_a_connection_that_breaks_http2() -> None:
    with mesh("--tracer", "none") as one, ThreadPoolExecutor(len(BROKEN)) as pool:
        cut = pool.map(lambda broken: _is_cut(one.target, broken), BROKEN.values())
        assert [name for name, is_cut in zip(BROKEN, cut, strict=True) if not is_cut] == []


def _is_cut(target: str, broken: bytes) -> bool:
    with Peer(target) as peer:
        peer.send(broken)
        return peer.is_cut()


BY_DEFAULT = ("garbage", "header_bombs", "rapid_resets")


@pytest.mark.parametrize("attack", cells(ATTACKS, BY_DEFAULT))
def test_others_are_served_through_the_ingress_during_an_attack_and_by_svc1_after_it(place: Place, attack: str) -> None:
    command = [sys.executable, "-m", "tests.hostile.attacks", attack, place.target]
    highest = place.rss()
    with subprocess.Popen(command, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"begun\n"
        while attacker.poll() is None:
            if place.name == "ingress":
                assert call(place.target, timeout=PATIENCE).code is grpc.StatusCode.OK
            time.sleep(0.02)  # leaves the processor to the others
            highest = {name: max(highest[name], rss) for name, rss in place.rss().items()}
        assert attacker.returncode == 0
    _check_served(place)
    print(f"{attack}, {place.name}: {max(highest.values()) / 1e6:.0f} MB")  # noqa: T201 (shown with -s)
    _check_unharmed(place, highest)


def _check_served(place: Place) -> None:
    wait_for(lambda: call(place.target, timeout=PATIENCE).code is grpc.StatusCode.OK, "a normal call", PATIENCE)


def _check_unharmed(place: Place, rss: Mapping[str, int]) -> None:
    assert {name: size for name, size in rss.items() if size >= MOST_RSS} == {}
    assert [name for name, pid in place.pids.items() if not runs(pid)] == []
    assert [log.name for log in place.logs.glob("*.log") if "Traceback" in log.read_text(errors="replace")] == []
