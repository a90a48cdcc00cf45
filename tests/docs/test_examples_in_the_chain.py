"""The guide's hops in svc2's place, alone and behind its real sidecar: the requester's verdict."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.examples import GETTING
from tests.client.run import client
from tests.docs.conftest import Example
from tests.docs.hops import hop
from tests.docs.kinds import KINDS
from tests.mesh.support import mesh
from tests.support.cells import cells
from tests.support.processes import service

pytestmark = pytest.mark.timeout(2 * GETTING)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = (
    f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01",
    "baggage: a=1",
    "baggage: b=2",
    f"x-b3-traceid: {TRACE}",
    "x-b3-spanid: 00f067aa0ba902b7",
    "x-b3-sampled: 1",
    "x-lane: canary",
)
HEADERS = tuple(word for header in SENT for word in ("-H", header))


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_with_a_hop_of_the_guide_between_svc1_and_svc3_all_headers_arrive(
    made: Callable[[str], Example], kind: str, tmp_path: Path
) -> None:
    example = made(kind)
    sockets = {name: f"unix:{tmp_path}/{name}" for name in ("2", "3")}
    with (
        service("svc3", tmp_path / "3.log", listen=sockets["3"]) as svc3,
        hop(example.command, sockets["2"], sockets["3"], tmp_path / "2.log"),
        service("svc1", tmp_path / "1.log", listen="127.0.0.1:0", next_hop=sockets["2"]) as svc1,
    ):
        assert svc3.addresses
        ended = client("call", "--rpc", "all", "--target", svc1.addresses[0], "--json", *HEADERS)
    assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended
    assert [(call["path"], call["problems"]) for call in ended.json["calls"]] == [(["svc1", "svc3"], [])] * 4
    notes = [
        line
        for line in ended.err.splitlines()
        if line.startswith("note: ") and not line.endswith("left no record: unknown")
    ]
    folded = "note: between svc1 and svc3 (svc2 left no record): 2 baggage headers were folded into one, comma-joined"
    assert notes == ([folded] if example.joins_duplicates else [])


PLACES = {"svc1": "3", "svc2": "3", "svc3": "4"}
"""How long the chain is: a hop of the guide has somebody to call, so that a fourth stands behind it in svc3's place."""


@pytest.mark.parametrize("place", cells(PLACES, ("svc2",)))
def test_with_a_hop_of_the_guide_behind_a_real_sidecar_the_trace_is_one(example: Example, place: str) -> None:
    hops = int(PLACES[place])
    services = [f"svc{number}" for number in range(1, hops + 1)]
    with mesh("--hops", PLACES[place], "--run", f"{place}={shlex.join(map(str, example.command))}") as one:
        stores = ("--traces", one.facts["traces"], "--otlp", one.facts["otlp_http"])
        chain = ("--target", one.target, "--expect", ",".join(services))
        ended = client("call", "--rpc", "all", *chain, *stores, "--wait", "30s", "--timeout", "30s", "--json")
    assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended
    # The requester's, the ingress' and two of each hop but the last.
    assert [(call["traces"], call["spans"]) for call in ended.json["calls"]] == [(1, 2 * hops + 1)] * 4
    assert [call["path"] for call in ended.json["calls"]] == [[one for one in services if one != place]] * 4
