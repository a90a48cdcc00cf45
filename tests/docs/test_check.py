"""`grpc-tracing check` through the guide's hops behind real sidecars."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from scripts.examples import GETTING
from tests.docs.conftest import Example
from tests.mesh.support import mesh
from tests.probe.talk import RPCS, check


@pytest.mark.full
@pytest.mark.parametrize("kind", ["aio", "go", "node"])
@pytest.mark.timeout(2 * GETTING)
def test_through_a_hop_of_the_guide(made: Callable[[str], Example], kind: str) -> None:
    command = shlex.join(map(str, made(kind).command))
    with mesh("--run", f"svc2={command}") as one:
        for rpc in RPCS:
            assert check(one, rpc, "--expect", "svc1,svc2,svc3", code=0)["verdict"] == "connected"
