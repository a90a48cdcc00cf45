"""Meshes that lose parts of themselves while calls run. TALK_TEST_SECONDS bounds each of the long tests (60)."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from mesh.ready import answers
from tests.chaos.callers import DEADLINE, Callers, Ending
from tests.mesh.support import ANY_PORTS, Mesh, call, mesh, state_directory
from tests.soak.in_flight import in_flight
from tests.support.processes import ROOT, environment
from tests.support.stub import ask, connect
from tests.support.vanishing import streaming_caller
from tests.support.waiting import wait_for

SECONDS = float(os.environ.get("TALK_TEST_SECONDS", "60"))
OK = grpc.StatusCode.OK

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SECONDS + 300)]


def _heal(one: Mesh) -> None:
    done = one.run("up")
    assert done.returncode == 0, done.stderr


def _kill(one: Mesh, name: str, _: Callers) -> None:
    _end(one, name, signal.SIGKILL)
    _heal(one)


def _restart(one: Mesh, name: str, callers: Callers) -> None:
    """SIGTERM, and a while without it."""
    _end(one, name, signal.SIGTERM)
    callers.go_on(10)
    _heal(one)


def _drain(one: Mesh, name: str, _: Callers) -> None:
    """SIGTERM, and it comes back at once."""
    _end(one, name, signal.SIGTERM)
    _heal(one)


def _pause(one: Mesh, name: str, callers: Callers) -> None:
    process = one.process(name)
    process.suspend()
    try:
        callers.go_on(10)
    finally:
        process.resume()


def _end(one: Mesh, name: str, number: int) -> None:
    process = one.process(name)
    process.send_signal(number)
    process.wait(30)


HARM: tuple[Callable[[Mesh, str, Callers], None], ...] = (_kill, _restart, _drain, _pause)

# What the contract and gRPC say of a hop, a connection or a proxy that goes away. CANCELLED: grpc.aio's answer to a
# call that meets its server's stop.
DOCUMENTED = {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}


def _is_documented(ending: Ending) -> bool:
    # gRPC's status for HTTP/2's INTERNAL_ERROR, with which Envoy cuts a call whose answer had begun.
    cut = ending.code is grpc.StatusCode.INTERNAL and "RST_STREAM" in ending.details
    return cut or ending.code.name in DOCUMENTED


def test_every_call_ends_with_a_documented_status_within_its_deadline_whatever_is_harmed() -> None:
    seed = random.SystemRandom().randrange(10_000)
    choose = random.Random(seed)  # noqa: S311 (what is chosen can be chosen again, by the seed)
    done = []
    with mesh("--replicas", "2") as one, Callers(one.target).running() as callers:
        names = sorted(set(one.pids) - {"mesh"})
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            harm, name = choose.choice(HARM), choose.choice(names)
            done.append(f"{harm.__name__} {name}")
            harm(one, name, callers)
            callers.go_on()
        _is_whole_again(one, limit=50)
    context = f"seed {seed}: {done}; {callers.failed}"
    assert [one for one in callers.endings if not _is_documented(one)] == [], context
    assert max(ending.seconds for ending in callers.endings) < DEADLINE + 5, context
    assert callers.codes["OK"] > len(callers.endings) / 2, context


def _is_whole_again(one: Mesh, limit: float) -> None:
    wait_for(lambda: call(one.target, timeout=5).code is OK, "the chain is whole again", timeout=limit)


def test_with_two_replicas_999_of_1000_unary_calls_succeed_while_one_at_a_time_is_killed() -> None:
    with mesh("--replicas", "2") as one, Callers(one.target, ["Talk"]).running() as callers:
        replicas = [name for name in one.pids if name.startswith("svc") and "canary" not in name]
        end = time.monotonic() + SECONDS
        for name in itertools.cycle(replicas):
            callers.go_on(100)
            _kill(one, name, callers)
            if time.monotonic() > end:
                break
        callers.go_on(100)
    _say(f"killed: {callers.codes}")
    assert callers.codes["OK"] >= 0.999 * len(callers.endings), callers.failed


def test_a_rolling_restart_of_all_services_loses_no_unary_call() -> None:
    with mesh("--replicas", "2") as one, Callers(one.target, ["Talk"]).running() as callers:
        for name in [name for name in one.pids if name.startswith("svc") and not name.endswith("sidecar")]:
            callers.go_on(50)
            _restart(one, name, callers)
        callers.go_on(50)
    _say(f"rolling restart: {callers.codes}")
    assert callers.failed == {}


def test_the_chain_is_whole_again_soon_after_the_last_process_is_ready() -> None:
    with mesh() as one:
        for name in set(one.pids) - {"mesh"}:
            _end(one, name, signal.SIGKILL)
        command = [sys.executable, "-m", "mesh", "up", "--state", str(one.state)]
        with subprocess.Popen(command, cwd=ROOT, env=environment({}), stdout=subprocess.DEVNULL) as healing:
            wait_for(lambda: all(answers(part["probe"]) for part in one.facts["processes"]), "all are ready", 60)
            ready = time.monotonic()
            _is_whole_again(one, limit=50)
            _say(f"whole again {time.monotonic() - ready:.2f} s after the last process was ready (target: 5)")
            assert healing.wait(60) == 0


def _say(text: str) -> None:
    print(text)  # noqa: T201 (shown with -s, and where the test fails)


@pytest.fixture
def watched() -> Iterator[Mesh]:
    """A mesh whose services tell of their calls."""
    with state_directory() as directory:
        one = Mesh(directory)
        done = one.run("up", *ANY_PORTS, TALK_CHANNELZ="on")
        assert done.returncode == 0, done.stderr
        yield one


MESSAGES = 200_000
MOST_GROWTH = 40 * 1000 * 1000


def test_a_slow_reader_makes_nothing_grow_and_holds_up_nobody(watched: Mesh) -> None:
    call(watched.target)
    before = _rss(watched)
    with connect(watched.target) as stub:
        stream = stub.talk_bidirectional((ask("0", "m" * 1024) for _ in range(MESSAGES)), timeout=120)
        next(stream)
        with Callers(watched.target).running(2) as callers:
            callers.go_on(100)
        grown = {name: rss - before[name] for name, rss in _rss(watched).items()}
        stream.cancel()
    assert callers.failed == {}
    assert {name: size for name, size in grown.items() if size > MOST_GROWTH} == {}
    wait_for(lambda: in_flight(watched) == 0, "nothing is left of the stream")


def _rss(one: Mesh) -> dict[str, int]:
    return {name: int(psutil.Process(pid).memory_info().rss) for name, pid in one.pids.items()}


def test_nothing_is_left_anywhere_of_callers_that_vanish(watched: Mesh) -> None:
    for _ in range(3):
        with streaming_caller(watched.target):
            assert in_flight(watched) > 0
    wait_for(lambda: in_flight(watched) == 0, "every call has ended, at every hop")


@pytest.mark.parametrize("output", ["full", "nobody reads it"])
def test_a_service_whose_standard_error_takes_nothing_serves_on_and_stops(tmp_path: Path, output: str) -> None:
    unread, pipe = os.pipe()
    where = pipe if output != "full" else os.open("/dev/full", os.O_WRONLY)
    listen = f"unix:{tmp_path}/svc3"
    variables = environment({"TALK_LISTEN": listen})
    with subprocess.Popen([sys.executable, "-m", "svc3"], cwd=ROOT, env=variables, stderr=where) as svc3:
        try:
            wait_for((tmp_path / "svc3").exists, "it listens")
            with Callers(listen).running() as callers:
                callers.go_on(1000)  # some 200 KB of lines: a pipe holds 64
            assert callers.failed == {}
            svc3.terminate()
            assert svc3.wait(20) == 0
        finally:
            svc3.kill()
    for descriptor in {unread, pipe, where}:
        os.close(descriptor)


def test_a_trace_store_that_hangs_costs_no_call_and_comes_back() -> None:
    with mesh() as one:
        store = one.process("traces")
        store.suspend()
        try:
            with Callers(one.target).running() as callers:
                callers.go_on(400)
        finally:
            store.resume()
        assert callers.failed == {}
        wait_for(lambda: _traced(one), "new calls leave traces again", timeout=50)


def _traced(one: Mesh) -> bool:
    (trace_id,) = call(one.target).trace_ids
    url = f"{one.facts['traces']}/api/v3/traces/{trace_id}"
    time.sleep(0.1)  # spans arrive within 10 ms, or were lost in the hang
    return bool(httpx.get(url, trust_env=False, timeout=20).status_code == httpx.codes.OK)
