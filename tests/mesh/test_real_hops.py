"""Hops that behave as real ones do, behind real sidecars: what the verdict says of them, with the store and without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.client.run import Finished, client
from tests.mesh.support import Mesh, mesh
from tests.support.cells import cells


class Hop(NamedTuple):
    """A kind of hop at a place, in a mesh that traces by this tracer."""

    kind: str
    place: str
    tracer: str


class Said(NamedTuple):
    """Exit code and verdict, and words that stand in the output."""

    code: int
    verdict: str
    words: str


# Without the store (records alone), and with it.
TABLE: dict[Hop, tuple[Said, Said]] = {
    Hop("like-java", "svc2", "otlp"): (
        Said(3, "unproven", "svc2 left no record, and nothing after it shows what it forwarded"),
        Said(1, "broken", "svc2 copies x-request-id, not traceparent: the sidecar began a new trace"),
    ),
    Hop("like-java", "svc2", "zipkin"): (
        Said(3, "unproven", "svc2 left no record, and nothing after it shows what it forwarded"),
        Said(0, "connected", "svc2 left no record: unknown"),
    ),
    Hop("like-node", "svc2", "otlp"): (
        Said(3, "unproven", "svc2 left no record, and nothing after it shows what it forwarded"),
        Said(1, "broken", "svc2 forwarded no trace header"),
    ),
    Hop("like-node", "svc2", "zipkin"): (
        Said(3, "unproven", "svc2 left no record, and nothing after it shows what it forwarded"),
        Said(1, "broken", "svc2 forwarded no trace header"),
    ),
    Hop("like-java", "svc1", "otlp"): (
        Said(3, "unproven", "no hop left a record, so nothing shows where the trace went: give --traces"),
        Said(1, "broken", "svc1 copies x-request-id, not traceparent"),
    ),
    Hop("like-node", "svc1", "otlp"): (
        Said(3, "unproven", "no hop left a record, so nothing shows where the trace went: give --traces"),
        Said(1, "broken", "svc1 forwarded no trace header"),
    ),
    Hop("like-java", "svc3", "otlp"): (
        Said(0, "connected", "connected as far as svc2: svc3 has nothing to forward"),
        Said(0, "connected", "svc3 left no record: unknown"),
    ),
    Hop("like-node", "svc3", "zipkin"): (
        Said(0, "connected", "connected as far as svc2: svc3 has nothing to forward"),
        Said(0, "connected", "svc3 left no record: unknown"),
    ),
    Hop("nothing", "svc2", "otlp"): (
        Said(0, "connected", "svc2 left no record: unknown"),
        Said(0, "connected", "svc2 left no record: unknown"),
    ),
    Hop("nothing", "svc1", "otlp"): (
        Said(3, "unproven", "svc1 left no record, and no trace id was sent"),
        Said(0, "connected", "svc1 left no record: unknown"),
    ),
    Hop("drop-traceparent", "svc1", "otlp"): (
        Said(3, "unproven", "svc1 left no record, and no trace id was sent"),
        Said(1, "broken", "svc1"),
    ),
    Hop("drop-traceparent", "svc2", "otlp"): (
        Said(1, "broken", "svc2"),
        Said(1, "broken", "svc2"),
    ),
}


def call(one: Mesh, *options: str) -> Finished:
    return client("call", "--target", one.target, "--wait", "5s", *options)


BY_DEFAULT = (Hop("drop-traceparent", "svc1", "otlp"),)


@pytest.fixture(scope="module", params=cells(TABLE, BY_DEFAULT), ids="-".join)
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[Mesh, Hop]]:
    hop: Hop = request.param
    command = f"'{sys.executable}' -m tests.mesh.{_program(hop)}"
    with mesh("--tracer", hop.tracer, "--run", f"{hop.place}={command}") as one:
        yield one, hop


def _program(hop: Hop) -> str:
    return f"foreign_leaf {hop.kind}" if hop.place == "svc3" else f"foreign_hop {hop.kind}"


def test_by_records_alone(foreign: tuple[Mesh, Hop]) -> None:
    one, hop = foreign
    _holds(call(one), TABLE[hop][0])


def test_with_the_store(foreign: tuple[Mesh, Hop]) -> None:
    one, hop = foreign
    facts = one.facts
    _holds(call(one, "--traces", facts["traces"], "--otlp", facts["otlp_http"]), TABLE[hop][1])


def _holds(ended: Finished, said: Said) -> None:
    verdict = next(line for line in ended.out.splitlines() if line.startswith(("connected", "broken", "unproven")))
    assert (ended.code, verdict.partition(":")[0]) == (said.code, said.verdict), ended.out
    assert said.words in ended.out


@pytest.mark.full
def test_a_hop_that_ends_during_the_call_is_a_failure_that_names_it() -> None:
    command = f"'{sys.executable}' -m tests.mesh.foreign_hop like-go"
    with mesh("--run", f"svc2={command}") as one:
        stores = ("--traces", one.facts["traces"], "--otlp", one.facts["otlp_http"])
        ended = call(one, "--rpc", "Talk", "--repeat", "2", *stores)
    assert ended.code == 1, ended.out
    assert "failed: 2 of 2 calls did not succeed" in ended.out
    assert "svc2 went away during the call (connection lost), and nothing listens there since [went-away]" in ended.out


@pytest.fixture(scope="module")
def caching() -> Iterator[Mesh]:
    command = f"'{sys.executable}' -m tests.mesh.foreign_hop global-cache"
    with mesh("--run", f"svc2={command}") as one:
        yield one


@pytest.mark.full
def test_a_global_cache_shows_under_concurrency_and_is_named(caching: Mesh) -> None:
    ended = call(caching, "--concurrency", "16", "--repeat", "50")
    assert ended.code == 1, ended.out
    line = next(line for line in ended.out.splitlines() if "another-calls-headers" in line)
    assert "of 200: svc2 sent another call's" in line


@pytest.mark.full
def test_a_clean_chain_under_the_same_stays_connected(shared_mesh: Mesh) -> None:
    for _ in range(3):
        ended = call(shared_mesh, "--concurrency", "16", "--repeat", "50")
        assert (ended.code, ended.out.count("all 200 calls passed svc1, svc2, svc3")) == (0, 1), ended.out


@pytest.mark.full
@pytest.mark.parametrize("duration", ["5s", pytest.param("20s", marks=pytest.mark.long)])
def test_a_load_tells_the_share_of_torn_traces_at_their_link(duration: str) -> None:
    command = f"'{sys.executable}' -m tests.mesh.foreign_hop every-100"
    with mesh("--no-mesh", "--run", f"svc2={command}") as one:
        load = ("load", "--target", one.target, "--duration", duration, "--warmup", "1s", "--json", "--rpc", "Talk")
        ended = client(*load, limit=120)
    assert ended.code == 1, ended
    (share,) = ended.json["wholeness"]["Talk"].values()
    assert share == pytest.approx(0.99, abs=0.003)


@pytest.mark.full
def test_a_clean_load_is_whole_at_every_link(shared_mesh: Mesh) -> None:
    ended = client("load", "--target", shared_mesh.target, "--duration", "1s", "--warmup", "0", "--json")
    assert ended.code == 0, ended
    assert all(links == {"svc1 > svc2": 1, "svc2 > svc3": 1} for links in ended.json["wholeness"].values())
