"""SIGTERM and Ctrl-C: what is in flight ends well, what is new goes elsewhere."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.leaf import Leaf, serve
from tests.support.load import Load
from tests.support.processes import Service, service
from tests.support.stub import ask, connect
from tests.support.waiting import wait_for

CONCURRENCY = 16
RESTARTS = 4


@contextmanager
def before_a_slow_leaf(folder: Path, **settings: str) -> Iterator[tuple[Service, threading.Event, threading.Event]]:
    """svc2 in front of a leaf whose Talk waits for the second event; the first says that a call is there."""
    leaf, reached, go_on = Leaf(), threading.Event(), threading.Event()

    def wait(request: bytes, _: grpc.ServicerContext) -> bytes:
        reached.set()
        go_on.wait(60)
        return request

    leaf.talk = wait
    with (
        serve(f"unix:{folder}/leaf", leaf),
        service("svc2", folder / "log", listen="127.0.0.1:0", next_hop=f"unix:{folder}/leaf", **settings) as svc2,
    ):
        assert svc2.addresses
        yield svc2, reached, go_on
        go_on.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_calls_in_flight_finish_and_the_exit_code_is_0(tmp_path: Path, number: int) -> None:
    with (
        before_a_slow_leaf(tmp_path, drain_pause="200ms", grace="30s") as (svc2, reached, go_on),
        connect(svc2.addresses[0]) as stub,
    ):
        health: Any = health_pb2_grpc.HealthStub(stub.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        call = stub.talk.future(ask("0"), timeout=60)
        assert reached.wait(20)
        svc2.process.send_signal(number)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        wait_for(lambda: _is_refused(svc2.addresses[0]), "new calls are refused")
        assert svc2.process.poll() is None
        go_on.set()
        assert call.result(timeout=20) == ask("0")
        # The open health watch does not hold the process for the whole grace time.
        assert svc2.process.wait(20) == 0


def _is_refused(target: str) -> bool:
    with connect(target) as stub:
        health: Any = health_pb2_grpc.HealthStub(stub.channel)
        try:
            health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAVAILABLE)
        return False


def test_calls_that_outlast_the_grace_time_are_cut(tmp_path: Path) -> None:
    with (
        before_a_slow_leaf(tmp_path, grace="200ms") as (svc2, reached, _),
        connect(svc2.addresses[0]) as stub,
    ):
        call = stub.talk.future(ask("0"), timeout=60)
        assert reached.wait(20)
        assert svc2.stop() == 0
        assert call.exception(timeout=20).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with (
        before_a_slow_leaf(tmp_path, grace="10m") as (svc2, reached, _),
        connect(svc2.addresses[0]) as stub,
    ):
        call = stub.talk.future(ask("0"), timeout=60)
        assert reached.wait(20)
        svc2.process.terminate()
        wait_for(lambda: any(line.get("event") == "draining" for line in svc2.lines()), "svc2 drains")
        svc2.process.terminate()
        assert svc2.process.wait(10) == -signal.SIGTERM
        assert call.exception(timeout=20) is not None


def free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.full
def test_a_rolling_restart_under_load_loses_no_unary_call(tmp_path: Path) -> None:
    # Addresses of their own, so that no client's port can be in the way when a server comes back.
    listen = [f"{host}:{free_port(host)}" for host in ("127.0.0.2", "127.0.0.3")]
    last = f"unix:{tmp_path}/svc3"
    with ExitStack() as stack:
        stack.enter_context(service("svc3", tmp_path / "3.log", listen=last))

        def start(index: int) -> Service:
            log = tmp_path / f"svc2-{index}-{time.monotonic_ns()}.log"
            started = stack.enter_context(service("svc2", log, listen=listen[index], next_hop=last))
            assert started.addresses
            return started

        replicas = [start(0), start(1)]
        both = f"ipv4:{listen[0]},{listen[1]}"
        svc1 = stack.enter_context(service("svc1", tmp_path / "1.log", listen="127.0.0.1:0", next_hop=both, retry="on"))
        with Load(svc1.addresses[0], CONCURRENCY).running() as load:
            for turn in range(RESTARTS):
                load.goes_on()
                assert replicas[turn % 2].stop() == 0
                load.goes_on()
                replicas[turn % 2] = start(turn % 2)
                wait_for(partial(_is_called, replicas[turn % 2]), "svc1 calls the new replica")
            load.goes_on()
    assert load.failed == []


def _is_called(svc2: Service) -> bool:
    return any("rpc" in line for line in svc2.lines())


def test_a_service_that_restarts_is_called_again_after_a_restart(tmp_path: Path) -> None:
    leaf = Leaf()
    with serve(f"unix:{tmp_path}/leaf", leaf):
        settings = {"listen": f"unix:{tmp_path}/svc2", "next_hop": f"unix:{tmp_path}/leaf"}
        with ExitStack() as stack:
            first = stack.enter_context(service("svc2", tmp_path / "1.log", **settings))
            assert first.addresses
            svc1 = stack.enter_context(
                service("svc1", tmp_path / "svc1.log", listen="127.0.0.1:0", next_hop=settings["listen"])
            )
            stub = stack.enter_context(connect(svc1.addresses[0]))
            assert stub.talk(ask("0"), timeout=20)
            assert first.stop() == 0
            with pytest.raises(grpc.RpcError):
                stub.talk(ask("0"), timeout=20)
            second = stack.enter_context(service("svc2", tmp_path / "2.log", **settings))
            assert second.addresses
            returned = time.monotonic()
            wait_for(lambda: _answers(stub), "svc1 calls the new svc2", timeout=10)
            assert time.monotonic() - returned < 10


def _answers(stub: Any) -> bool:
    try:
        return bool(stub.talk(ask("0"), timeout=20))
    except grpc.RpcError:
        return False
