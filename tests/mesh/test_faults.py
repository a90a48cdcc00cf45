"""Faults at a sidecar's inbound, and the one hop that retries."""

from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from tests.mesh.support import Mesh, call, channel, mesh, talk


@pytest.fixture(scope="module")
def faulty() -> Iterator[Mesh]:
    with mesh("--faults", "svc3=abort:UNAVAILABLE:100%", "--faults", "svc2=delay:150ms:100%") as one:
        yield one


def test_an_abort_names_the_sidecar_that_made_it_and_the_way_there(faulty: Mesh) -> None:
    outcome = call(faulty.target)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert outcome.details == "svc2 -> svc3: svc3's sidecar: fault filter abort"
    assert outcome.path == ["svc1", "svc2"]


def test_only_the_ingress_tries_again(faulty: Mesh) -> None:
    outcome = call(faulty.target)
    spans = faulty.spans(outcome.trace_ids[0], at_least=16)
    attempts = Counter((span["service"], span["kind"]) for span in spans)
    server, client = 2, 3
    assert attempts == {
        ("ingress", client): 1,
        ("svc1", server): 3,
        ("svc1", client): 3,
        ("svc2", server): 3,
        ("svc2", client): 3,
        ("svc3", server): 3,
    }


def test_a_delay_is_time_spent_on_the_way_to_its_service(faulty: Mesh) -> None:
    svc1, svc2 = call(faulty.target).hops
    assert svc1.later_us >= 150_000
    assert svc2.here_us + svc2.later_us < svc1.later_us - 140_000


@pytest.mark.full
def test_a_percentage_is_a_share_of_the_calls() -> None:
    with mesh("--faults", "svc3=abort:RESOURCE_EXHAUSTED:50%") as one, channel(one.target) as connection:
        codes = Counter(talk(connection).code for _ in range(100))
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert min(codes.values()) > 15  # less: once in 10^13 runs


@pytest.mark.full
def test_a_fault_that_passes_is_made_good_by_the_retries() -> None:
    with mesh("--faults", "svc1=abort:UNAVAILABLE:10%") as one, channel(one.target) as connection:
        codes = Counter(talk(connection).code for _ in range(200))
    # Without retries 20 of 200 fail; with two, once in 1,000 calls.
    assert codes[grpc.StatusCode.OK] >= 195
