"""`down` while calls are made, and replicas that come and go."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest

from protos import landing_pb2
from tests.mesh.support import Mesh, Outcome, call, channel, mesh, talk
from tests.support.waiting import wait_for

CONCURRENCY = 6


@dataclass
class Load:
    """Calls one after another, each worker on a connection of its own, until nobody listens any more."""

    target: str
    answered: list[Outcome] = field(default_factory=list)
    broken: list[Outcome] = field(default_factory=list)

    def work(self) -> None:
        with channel(self.target) as connection:
            while not refused(outcome := talk(connection)):
                (self.answered if outcome.code is grpc.StatusCode.OK else self.broken).append(outcome)


def refused(outcome: Outcome) -> bool:
    """The call was never begun: the ingress listens no more, or closed its socket with this connection still queued."""
    return outcome.code is grpc.StatusCode.UNAVAILABLE and "failed to connect to all addresses" in outcome.details


@pytest.mark.full
def test_down_under_load_breaks_no_call() -> None:
    with mesh() as one, ThreadPoolExecutor(CONCURRENCY) as pool:
        load = Load(one.target)
        workers = [pool.submit(load.work) for _ in range(CONCURRENCY)]
        wait_for(lambda: len(load.answered) > 20 * CONCURRENCY, "the load is on", timeout=60)
        done = one.run("down")
        for worker in workers:
            worker.result(timeout=60)
    assert done.returncode == 0, done.stderr
    assert "cutting" not in done.stderr
    assert load.broken == []


@pytest.mark.full
def test_down_waits_for_a_stream_in_flight() -> None:
    with mesh() as one, channel(one.target) as connection:
        stream = connection.stream_stream(
            "/org.feuyeux.grpc.LandingService/TalkBidirectional",
            request_serializer=landing_pb2.TalkRequest.SerializeToString,
            response_deserializer=landing_pb2.TalkResponse.FromString,
        )
        go_on = threading.Event()

        def requests() -> Iterator[landing_pb2.TalkRequest]:
            yield landing_pb2.TalkRequest(data="0")
            go_on.wait(60)
            yield landing_pb2.TalkRequest(data="1")

        answers = stream(requests(), timeout=60)
        assert next(answers).status == 200
        with ThreadPoolExecutor(1) as pool:
            going_down = pool.submit(one.run, "down")
            wait_for(lambda: refused(call(one.target)), "nobody new is let in")
            go_on.set()
            assert [answer.status for answer in answers] == [200]
            assert going_down.result(timeout=60).returncode == 0
        assert answers.code() is grpc.StatusCode.OK


@pytest.mark.full
def test_down_cuts_a_call_that_does_not_end() -> None:
    with mesh() as one, channel(one.target) as connection:
        stream = connection.stream_stream(
            "/org.feuyeux.grpc.LandingService/TalkBidirectional",
            request_serializer=landing_pb2.TalkRequest.SerializeToString,
            response_deserializer=landing_pb2.TalkResponse.FromString,
        )
        hold = threading.Event()

        def requests() -> Iterator[landing_pb2.TalkRequest]:
            yield landing_pb2.TalkRequest(data="0")
            hold.wait(60)

        answers = stream(requests(), timeout=60)
        next(answers)
        done = one.run("down")
        hold.set()
        assert done.returncode == 0
        assert "cutting 1 calls that did not end within 10 s" in done.stderr
        assert answers.code() is grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def replicated() -> Iterator[Mesh]:
    with mesh("--replicas", "2") as one:
        yield one


@pytest.fixture
def doubled(replicated: Mesh) -> Iterator[Mesh]:
    yield replicated
    replicated.up()


@pytest.mark.full
def test_two_replicas_of_each_service_share_the_calls(doubled: Mesh) -> None:
    with channel(doubled.target) as connection:
        paths = Counter(tuple(hop.instance for hop in talk(connection).hops) for _ in range(40))
    for place, service in enumerate(("svc1", "svc2", "svc3")):
        assert {path[place] for path in paths} == {service, f"{service}-2"}


KILLED = ("svc1", "svc1-2-sidecar", "svc2", "svc2-2-sidecar", "svc3-2", "svc3-sidecar")


@pytest.mark.full
@pytest.mark.parametrize("name", KILLED)
def test_the_death_of_a_replica_costs_no_unary_call(doubled: Mesh, name: str) -> None:
    with channel(doubled.target) as connection:
        doubled.kill(name)
        outcomes = [talk(connection) for _ in range(100)]
    assert [outcome.details for outcome in outcomes if outcome.code is not grpc.StatusCode.OK] == []


@pytest.mark.full
def test_a_replica_that_is_asked_to_end_costs_no_unary_call(doubled: Mesh) -> None:
    with channel(doubled.target) as connection:
        doubled.process("svc2").send_signal(signal.SIGTERM)
        outcomes = [talk(connection) for _ in range(100)]
    assert [outcome.details for outcome in outcomes if outcome.code is not grpc.StatusCode.OK] == []
