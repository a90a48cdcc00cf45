from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leaf import Leaf, serve
from tests.support.processes import Service, service
from tests.support.stub import Stub, connect


@dataclass(frozen=True)
class TwoHops:
    """svc1 and svc2 as processes in front of a last hop of the test's own."""

    svc1: Service
    svc2: Service
    leaf: Leaf
    target: str


@pytest.fixture(scope="module")
def _two_hops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHops]:
    folder: Path = tmp_path_factory.mktemp("hops")
    leaf = Leaf()
    sockets = {name: f"unix:{folder}/{name}" for name in ("svc2", "leaf")}
    also = "x-lane,end-user,x-tenant-*,secret-sauce-bin"
    with (
        serve(sockets["leaf"], leaf),
        service(
            "svc2", folder / "2.log", listen=sockets["svc2"], next_hop=sockets["leaf"], propagate_also=also
        ) as svc2,
        service(
            "svc1", folder / "1.log", listen="127.0.0.1:0", next_hop=sockets["svc2"], propagate_also=also, channelz="on"
        ) as svc1,
    ):
        assert svc2.addresses
        yield TwoHops(svc1, svc2, leaf, svc1.addresses[0])


@pytest.fixture
def hops(_two_hops: TwoHops) -> TwoHops:
    _two_hops.leaf.reset()
    return _two_hops


@pytest.fixture
def stub(hops: TwoHops) -> Iterator[Stub]:
    with connect(hops.target) as stub:
        yield stub
