"""A mesh as `up` makes it: what passes, what is traced, and who may call whom."""

import json
import secrets
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest

from chain import topology
from mesh.identities import Authority
from tests.mesh.support import Json, Mesh, call, channel, credentials, files, run, talk

TRACED = [
    ("ingress", "CLIENT"),
    ("svc1", "SERVER"),
    ("svc1", "CLIENT"),
    ("svc2", "SERVER"),
    ("svc2", "CLIENT"),
    ("svc3", "SERVER"),
]
KINDS = {2: "SERVER", 3: "CLIENT"}


def in_order(spans: list[Json]) -> list[tuple[str, str]]:
    """Services and kinds from the root on; every span but the last has one child."""
    by_parent = {span.get("parentSpanId", ""): span for span in spans}
    found = []
    parent = ""
    while span := by_parent.get(parent):
        found.append((span["service"], KINDS[span["kind"]]))
        parent = span["spanId"]
    return found


def test_each_of_the_four_patterns_leaves_one_trace_of_six_spans(shared_mesh: Mesh) -> None:
    done = run("-m", "client", "call", "--json", "--target", shared_mesh.target)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = json.loads(done.stdout)["calls"]
    assert [one["rpc"] for one in calls] == ["Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional"]
    for one in calls:
        assert in_order(shared_mesh.spans(one["trace_id"], len(TRACED))) == TRACED, one["rpc"]


def test_spans_say_which_version_and_instance_made_them(shared_mesh: Mesh) -> None:
    outcome = call(shared_mesh.target, ("x-lane", "canary"))
    resources = [span["resource"] for span in shared_mesh.spans(outcome.trace_ids[0], len(TRACED))]
    made_by = {(r["service.name"], r["service.version"], r["service.instance.id"]) for r in resources}
    assert ("svc3", "canary", "svc3-canary-sidecar") in made_by
    assert ("svc2", "v1", "svc2-sidecar") in made_by
    assert {r["service.namespace"] for r in resources} == {"grpc-tracing"}


def test_each_service_learns_its_callers_identity(shared_mesh: Mesh) -> None:
    peers = [hop.peer for hop in call(shared_mesh.target).hops]
    assert peers == [topology.spiffe_id(caller) for caller in ("ingress", "svc1", "svc2")]


@pytest.mark.parametrize(
    ("value", "version"),
    [("canary", "canary"), ("Canary", "v1"), ("canary2", "v1"), ("stable", "v1"), (None, "v1")],
)
def test_the_lane_is_for_its_exact_header_value(shared_mesh: Mesh, value: str | None, version: str) -> None:
    outcome = call(shared_mesh.target, *([("x-lane", value)] if value else []))
    assert [(hop.service, hop.version) for hop in outcome.hops] == [("svc1", "v1"), ("svc2", "v1"), ("svc3", version)]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MALFORMED = {
    "no traceparent at all": "garbage",
    "too short": f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
    "trace id of zeroes": f"00-{'0' * 32}-00f067aa0ba902b7-01",
    "parent id of zeroes": f"00-{TRACE}-{'0' * 16}-01",
    "forbidden version": f"ff-{TRACE}-00f067aa0ba902b7-01",
    "upper case": f"00-{TRACE.upper()}-00F067AA0BA902B7-01",
    "no hex": f"00-{'x' * 32}-00f067aa0ba902b7-01",
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_traceparent_stops_at_the_ingress_and_the_call_is_traced(shared_mesh: Mesh, value: str) -> None:
    outcome = call(shared_mesh.target, ("traceparent", value))
    (trace_id,) = outcome.trace_ids
    assert trace_id != TRACE
    assert in_order(shared_mesh.spans(trace_id, len(TRACED))) == TRACED


def test_a_callers_own_trace_goes_on(shared_mesh: Mesh) -> None:
    trace_id = secrets.token_hex(16)
    outcome = call(shared_mesh.target, ("traceparent", f"00-{trace_id}-00f067aa0ba902b7-03"))
    assert outcome.trace_ids == [trace_id]
    assert len(shared_mesh.spans(trace_id, len(TRACED))) == len(TRACED)


@pytest.mark.parametrize("request_id", ["ticket 4711", "f3b9c1f2-7d0e-4c58-9a53-2b8f5d8f5a10"])
def test_any_request_id_arrives_as_it_was_sent_and_the_call_is_traced(shared_mesh: Mesh, request_id: str) -> None:
    outcome = call(shared_mesh.target, ("x-request-id", request_id))
    seen = [{h.value for h in hop.headers if h.key == "x-request-id"} for hop in outcome.hops]
    assert seen == [{request_id.encode()}] * 3
    assert len(shared_mesh.spans(outcome.trace_ids[0], len(TRACED))) == len(TRACED)


# Who may call whom, tried at each sidecar's port with each identity.


def stranger(mesh: Mesh) -> grpc.ChannelCredentials:
    """A certificate with the right name, from an authority of its own."""
    identity = Authority().issue("svc2")
    return grpc.ssl_channel_credentials(Path(files(mesh, "svc2").ca).read_bytes(), identity.key, identity.certificate)


def anonymous(mesh: Mesh) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(files(mesh, "svc2").ca).read_bytes())


@pytest.mark.parametrize("service", topology.DEFAULT.services)
@pytest.mark.parametrize("caller", topology.DEFAULT.identities)
def test_only_the_tables_edges_may_be_called(shared_mesh: Mesh, caller: str, service: str) -> None:
    address = shared_mesh.facts["inbound"][service]
    with channel(address, credentials(shared_mesh, caller), f"grpc-server-{service}") as connection:
        outcome = talk(connection)
    if (caller, service) in topology.DEFAULT.edges:
        assert outcome.code is grpc.StatusCode.OK
        assert outcome.hops[0].peer == topology.spiffe_id(caller)
    else:
        assert outcome.code is grpc.StatusCode.PERMISSION_DENIED
        assert outcome.details == f"{service}'s sidecar: RBAC: access denied"


@pytest.mark.parametrize("inbound", ["svc1", "svc2", "svc3", "svc3-canary"])
@pytest.mark.parametrize("who", [stranger, anonymous, lambda _: None], ids=["stranger", "anonymous", "plaintext"])
def test_without_an_identity_of_this_mesh_there_is_no_connection(
    shared_mesh: Mesh, who: Callable[[Mesh], grpc.ChannelCredentials | None], inbound: str
) -> None:
    name = f"grpc-server-{inbound.removesuffix('-canary')}"
    with channel(shared_mesh.facts["inbound"][inbound], who(shared_mesh), name) as connection:
        assert talk(connection).code is grpc.StatusCode.UNAVAILABLE


def test_tls_1_2_is_refused(shared_mesh: Mesh) -> None:
    own = files(shared_mesh, "svc2")
    context = ssl.create_default_context(cafile=own.ca)
    context.load_cert_chain(own.certificate, own.key)
    host, _, port = shared_mesh.facts["inbound"]["svc3"].rpartition(":")

    def shake_hands() -> str | None:
        raw = socket.create_connection((host, int(port)))
        with context.wrap_socket(raw, server_hostname="grpc-server-svc3") as connection:
            return connection.version()

    assert shake_hands() == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands()


# Past the sidecars.

AS_NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("connected", path)
    except PermissionError:
        pass
"""


@pytest.mark.skipif("os.geteuid() != 0", reason="only root can become another user")
def test_no_other_user_gets_past_a_sidecar(shared_mesh: Mesh) -> None:
    sockets = [str(path) for path in (shared_mesh.state / "sock").iterdir()]
    assert str(shared_mesh.state / "sock" / "svc3.app") in sockets
    done = run("-W", "ignore", "-c", AS_NOBODY, *sockets)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_services_listen_on_no_port(shared_mesh: Mesh) -> None:
    for name in ("svc1", "svc2", "svc3", "svc3-canary"):
        listening = [c for c in shared_mesh.process(name).net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert listening == [], name


def test_everything_in_the_directory_is_the_owners_alone(shared_mesh: Mesh) -> None:
    open_to_others = [str(p) for p in shared_mesh.state.rglob("*") if p.lstat().st_mode & 0o077]
    assert open_to_others == []
    assert shared_mesh.state.stat().st_mode & 0o777 == 0o700
