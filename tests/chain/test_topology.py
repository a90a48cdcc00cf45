"""The one table."""

import pytest
import yaml

from chain import topology
from tests.support.processes import ROOT


def test_every_service_has_a_way_in_and_all_but_the_last_a_next_hop() -> None:
    assert {name: topology.DEFAULT.callers(name) for name in topology.DEFAULT.services} == {
        "svc1": ("ingress", "client"),
        "svc2": ("svc1",),
        "svc3": ("svc2",),
    }
    assert [topology.DEFAULT.next_hop(name) for name in topology.DEFAULT.services] == ["svc2", "svc3", None]


def test_every_end_of_an_edge_has_an_identity() -> None:
    assert {name for edge in topology.DEFAULT.edges for name in edge} == set(topology.DEFAULT.identities)
    assert topology.spiffe_id("svc1") == "spiffe://cluster.local/ns/grpc-tracing/sa/svc1"


def test_the_canary_is_a_version_of_a_service() -> None:
    assert topology.CANARY.service in topology.DEFAULT.services


@pytest.mark.parametrize("hops", range(topology.FEWEST_HOPS, topology.MOST_HOPS + 1))
def test_a_chain_of_any_length_has_an_edge_to_each_service_and_an_identity_for_each_end(hops: int) -> None:
    chain = topology.of_length(hops)
    assert [callee for _, callee in chain.edges] == ["svc1", *chain.services]
    assert [caller for caller, _ in chain.edges] == ["ingress", "client", *chain.services[:-1]]
    assert chain.identities == ("ingress", "client", *chain.services)
    assert chain.next_hop(chain.services[-1]) is None


@pytest.mark.parametrize("service", topology.DEFAULT.services)
def test_every_service_forwards_what_the_topology_says_beside_the_trace_headers(service: str) -> None:
    facts = yaml.safe_load((ROOT / service / "service.yaml").read_text())
    assert tuple(facts["propagate_also"]) == topology.PROPAGATE_ALSO
