"""A hop of one's own that knows TCP ports alone."""

import sys

import grpc
import pytest

from chain import topology
from mesh.errors import MeshError
from mesh.options import Options
from tests.mesh.support import ANY_PORTS, Mesh, call, run, state_directory
from tests.support.cells import rows

HOP = f"'{sys.executable}' -m tests.mesh.tcp_hop {{host}} {{port}} {{next_host}} {{next_port}}"
SAYS = "on TCP ports of 127.0.0.1, which anyone on this machine can call"


@pytest.mark.parametrize(("options", "names"), rows([((), "svc2"), (("--no-mesh",), "svc2, svc3")], [((), "svc2")]))
def test_it_stands_in_a_services_place_and_a_line_says_who_can_call_it(options: tuple[str, ...], names: str) -> None:
    with state_directory() as directory:
        one = Mesh(directory)
        up = one.run("up", *ANY_PORTS, "--run", f"svc2={HOP}", *options)
        assert (up.returncode, up.stderr.splitlines()[0]) == (0, f"mesh: {names}: {SAYS}")
        outcome = call(one.target)
        assert (outcome.code, outcome.path) == (grpc.StatusCode.OK, ["svc1", "svc3"])


@pytest.mark.full
def test_its_sidecar_calls_it_and_is_called_by_it() -> None:
    with state_directory() as directory:
        one = Mesh(directory)
        one.up(*ANY_PORTS, "--replicas", "2", "--run", f"svc2={HOP}")
        outcome = call(one.target)
        assert outcome.hops[-1].peer == topology.spiffe_id("svc2")
        spans = one.spans(outcome.trace_ids[0], 6)
        assert {span["service"] for span in spans} == {"ingress", "svc1", "svc2", "svc3"}


@pytest.mark.full
def test_it_may_be_the_first_hop_without_envoys() -> None:
    done = run("-m", "deploy", "test", "local", "--no-mesh", "--run", f"svc1={HOP}", "--rpc", "Talk", "--json")
    assert '"path": ["svc2", "svc3"]' in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["hop {port} {next_port}", "hop {next_host}"])
def test_the_last_hop_has_no_next_one(command: str) -> None:
    with pytest.raises(MeshError, match=r"^--run svc3: it is the last hop and calls nobody: leave \{next_port\} out$"):
        Options(run=(f"svc3={command}",))


@pytest.mark.parametrize(
    ("command", "services"),
    [("hop {port}", ("svc2",)), ("hop --next={next_port}", ("svc2",)), ("hop {prot} ${PORT} '{}'", ())],
)
def test_braces_that_stand_for_no_address_are_the_commands_own(command: str, services: tuple[str, ...]) -> None:
    assert Options(run=(f"svc2={command}",)).on_tcp == services
