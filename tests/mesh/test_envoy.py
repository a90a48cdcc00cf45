"""Envoy's configurations: Envoy accepts each, and what it must not be left to its defaults with is set."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chain import topology
from mesh.envoy import binary, nodes
from mesh.envoy.parts import Address, Fault, Json, Node, Pipe, Tcp, Tracing
from mesh.errors import MeshError
from mesh.identities import Authority, Files, write

OTLP = Tracing(Tcp("127.0.0.1", 4317))
ZIPKIN = Tracing(Tcp("traces", 4318), zipkin=True, batches=True)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identities")
    write(Authority(), path, *topology.DEFAULT.identities)
    return path


def node(identities: Path | None, account: str, tracing: Tracing | None = OTLP, **more: Any) -> Node:
    files = Files.of(identities, account) if identities else None
    return Node(account, account, Pipe("/tmp/x.adm"), identity=files, tracing=tracing, **more)


def sidecar(one: Node, host: str = "127.0.0.1", canary: tuple[Address, ...] = (), **more: Any) -> Json:
    upstream: tuple[Address, ...] = (Tcp(host, 2), Tcp(host, 3))
    following = one.graph.next_hop(one.service)
    to = nodes.Outbound(following, Pipe("/tmp/x.out"), upstream, canary) if following else None
    return nodes.sidecar(
        one,
        inbound=Tcp("127.0.0.1", 1),
        app=(Pipe("/tmp/x.app"),),
        outbounds=(to,) if to else (),
        **more,
    )


def every_shape(identities: Path) -> Iterator[tuple[str, Json]]:
    for account in topology.DEFAULT.services:
        yield account, sidecar(node(identities, account))
        yield f"{account} in the clear, untraced", sidecar(node(None, account, None))
        yield f"{account} by Zipkin, by name", sidecar(node(identities, account, ZIPKIN), host="grpc-server-svc2")
    faults = (Fault(50, status=14), Fault(0.5, delay=0.2))
    yield "svc2 with faults and a lane", sidecar(node(identities, "svc2"), canary=(Tcp("::1", 4),), faults=faults)
    sampled = Tracing(Tcp("127.0.0.1", 4317), percent=0.5)
    yield "svc2, sampled", sidecar(node(identities, "svc2", sampled))
    yield "ingress", nodes.ingress(node(identities, "ingress"), Tcp("127.0.0.1", 9999), (Tcp("127.0.0.1", 1),))
    logging = node(None, "ingress", ZIPKIN, access_log=True)
    yield "ingress with a log", nodes.ingress(logging, Tcp("127.0.0.1", 9999), (Tcp("127.0.0.1", 1),))


def test_envoy_accepts_every_shape(identities: Path, tmp_path: Path) -> None:
    for number, (_, shape) in enumerate(every_shape(identities)):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(shape, sort_keys=False))
    binary.validate(binary.find(), sorted(tmp_path.iterdir()))


def test_envoy_says_what_it_does_not_accept(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("static_resources: {listener: []}")
    with pytest.raises(MeshError, match=r"Envoy refuses .*wrong.yaml: .*listener"):
        binary.validate(binary.find(), [wrong])


def everywhere(shape: Any, key: str) -> Iterator[Any]:
    """The values under a key, at any depth."""
    if isinstance(shape, dict):
        yield from (value for name, value in shape.items() if name == key)
        shape = list(shape.values())
    if isinstance(shape, list):
        for part in shape:
            yield from everywhere(part, key)


def test_tls_is_1_3_at_both_bounds_of_both_ends(identities: Path) -> None:
    for name, shape in every_shape(identities):
        for params in everywhere(shape, "tls_params"):
            bounds = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
            assert params == bounds, name


def test_every_cluster_but_zipkins_speaks_http2(identities: Path) -> None:
    for name, shape in every_shape(identities):
        for cluster in shape["static_resources"]["clusters"]:
            zipkin = cluster["name"] == "traces" and "Zipkin" in name + str(shape)
            assert zipkin or "http2_protocol_options" in str(cluster), (name, cluster["name"])


def test_no_timeout_of_envoys_own_ends_a_call(identities: Path) -> None:
    for name, shape in every_shape(identities):
        assert {route["timeout"] for route in everywhere(shape, "route")} == {"0s"}, name
        assert set(everywhere(shape, "stream_idle_timeout")) == {"0s"}, name
        assert not list(everywhere(shape, "grpc_timeout_header_max")), name


def test_only_the_ingress_retries_and_only_inbounds_have_faults(identities: Path) -> None:
    shapes = dict(every_shape(identities))
    retrying = {name for name, shape in shapes.items() if any(everywhere(shape, "retry_policy"))}
    assert retrying == {"ingress", "ingress with a log"}
    listeners = shapes["svc2 with faults and a lane"]["static_resources"]["listeners"]
    assert ["filters.http.fault" in str(listener) for listener in listeners] == [True, False]


def test_the_last_service_calls_nobody(identities: Path) -> None:
    shape = dict(every_shape(identities))["svc3"]
    assert [listener["name"] for listener in shape["static_resources"]["listeners"]] == ["inbound"]


@pytest.mark.parametrize("service", topology.DEFAULT.services)
def test_a_sidecar_lets_in_whom_the_table_names_and_calls_whom_it_names(identities: Path, service: str) -> None:
    shape = sidecar(node(identities, service))
    allowed = [
        principal["authenticated"]["principal_name"]["exact"] for principal in next(everywhere(shape, "principals"))
    ]
    assert allowed == [topology.spiffe_id(caller) for caller in topology.DEFAULT.callers(service)]
    called = {
        san["matcher"].get("exact") for sans in everywhere(shape, "match_typed_subject_alt_names") for san in sans
    }
    following = topology.DEFAULT.next_hop(service)
    assert called == {None, topology.spiffe_id(following)} if following else called == {None}


@pytest.mark.parametrize(
    ("path", "admitted"),
    [
        ("/org.feuyeux.grpc.LandingService/Talk", True),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", True),
        ("/org.feuyeux.grpc.LandingService/Talk?a=b", False),
        ("/org.feuyeux.grpc.LandingService/Talk?\xff", False),
        ("/org.feuyeux.grpc.LandingService/Talk\xff", False),
        ("/org.feuyeux.grpc.LandingService/Talk/", False),
        ("/Talk", False),
    ],
)
def test_every_route_to_a_hop_admits_exact_paths_alone(identities: Path, path: str, admitted: bool) -> None:
    for name, shape in every_shape(identities):
        assert [_admits(route, path) for route in _routes(shape)] == [admitted] * len(_routes(shape)), name


def _routes(shape: Json) -> list[Json]:
    """Those that lead to a cluster."""
    managers = [listener["filter_chains"][0]["filters"][0] for listener in shape["static_resources"]["listeners"]]
    hosts = [manager["typed_config"]["route_config"]["virtual_hosts"][0] for manager in managers]
    routes = [route for host in hosts for route in host["routes"] if "route" in route]
    assert routes
    return routes


def _admits(route: Json, path: str) -> bool:
    """By its header match on :path, of which Envoy's regular expressions know ASCII alone."""
    (matcher,) = [one["string_match"] for one in route["match"]["headers"] if one["name"] == ":path"]
    return bool(re.fullmatch(matcher["safe_regex"]["regex"], path, re.ASCII))


def test_a_connection_counts_where_it_comes_from_callers_and_ends_when_it_is_idle(identities: Path) -> None:
    for name, shape in every_shape(identities):
        assert shape["admin"]["ignore_global_conn_limit"], name
        exempt = {
            one["name"]: one.get("ignore_global_conn_limit", False) for one in shape["static_resources"]["listeners"]
        }
        assert exempt == {listener: listener.startswith("to ") for listener in exempt}, name
        idle = [options["idle_timeout"] for options in everywhere(shape, "common_http_protocol_options")]
        assert idle == (["60s"] if name.startswith("ingress") else []), name
