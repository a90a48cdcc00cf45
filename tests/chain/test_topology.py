"""The one table."""

from chain import topology


def test_every_service_has_a_way_in_and_all_but_the_last_a_next_hop() -> None:
    assert {name: topology.callers(name) for name in topology.SERVICES} == {
        "svc1": ("ingress", "client"),
        "svc2": ("svc1",),
        "svc3": ("svc2",),
    }
    assert [topology.next_hop(name) for name in topology.SERVICES] == ["svc2", "svc3", None]


def test_every_end_of_an_edge_has_an_identity() -> None:
    assert {name for edge in topology.EDGES for name in edge} == set(topology.IDENTITIES)
    assert topology.spiffe_id("svc1") == "spiffe://cluster.local/ns/grpc-tracing/sa/svc1"


def test_the_canary_is_a_version_of_a_service() -> None:
    assert topology.CANARY.service in topology.SERVICES
