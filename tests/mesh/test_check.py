"""`grpc-tracing check` through real Envoys, with the store's spans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.support import Mesh, mesh
from tests.probe.talk import RPCS, check
from tests.support.cells import cells


@pytest.fixture(scope="module")
def cut_at_svc2() -> Iterator[Mesh]:
    with mesh("--propagate", "svc2=none") as one:
        yield one


@pytest.mark.parametrize("rpc", cells(RPCS, ("Talk",)))
def test_a_whole_chain_is_connected(shared_mesh: Mesh, rpc: str) -> None:
    found = check(shared_mesh, rpc, "--expect", "svc1,svc2,svc3", code=0)
    (call,) = found["calls"]
    assert (found["verdict"], found["cuts"]) == ("connected", [])
    assert call["edges"] == [["ingress", "svc1"], ["svc1", "svc2"], ["svc2", "svc3"]]


@pytest.mark.parametrize("rpc", cells(RPCS, ()))
def test_the_service_that_cuts_is_named(cut_at_svc2: Mesh, rpc: str) -> None:
    found = check(cut_at_svc2, rpc, "--repeat", "10", code=1)
    (cut,) = found["cuts"]
    assert (found["verdict"], cut["service"], cut["target"], cut["calls"]) == ("broken", "svc2", "svc3", 10)


@pytest.mark.full
def test_what_was_saved_is_held(shared_mesh: Mesh, cut_at_svc2: Mesh, tmp_path: Path) -> None:
    saved = str(tmp_path / "talk.json")
    check(shared_mesh, "Talk", "--save", saved, code=0)
    check(shared_mesh, "Talk", "--expect-file", saved, code=0)
    found = check(cut_at_svc2, "Talk", "--repeat", "10", "--expect-file", saved, code=1)
    assert "no span of svc3, which was expected" in found["calls"][0]["problems"]
