"""The private directory: what is refused, and who holds it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh import ports
from mesh.errors import MeshError
from mesh.state import State
from tests.mesh.support import Mesh


def test_a_new_directory_is_the_owners_alone(state: Path) -> None:
    State(state / "new").prepare()
    assert (state / "new").stat().st_mode & 0o777 == 0o700


def test_a_path_too_long_for_unix_sockets_is_refused_by_how_much(state: Path) -> None:
    longest = State(state / ("x" * (107 - len(f"{state}//sock/svc3-canary-sidecar.adm"))))
    longest.prepare()
    State(longest.directory).make()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(longest.socket("svc3-canary-sidecar", "adm")))
    with pytest.raises(MeshError, match="is 3 bytes too long for the Unix sockets in it: --state DIR"):
        State(longest.directory.with_name(longest.directory.name + "xxx")).prepare()


@pytest.mark.parametrize("name", ["a,b", "a b", "a%41", "a#b", "é"])
def test_a_name_that_no_address_may_have_is_refused(state: Path, name: str) -> None:
    with pytest.raises(MeshError, match="which no address may have: --state DIR or GRPC_TRACING_HOME chooses another"):
        State(state / name).prepare()
    assert not (state / name).exists()


def test_a_directory_that_others_may_open_is_refused(state: Path) -> None:
    state.chmod(0o755)
    for command in ("status", "down", "logs"):
        done = Mesh(state).run(command, *(["svc1"] if command == "logs" else []))
        assert (done.returncode, "is open to others" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    with pytest.raises(MeshError, match="is open to others: chmod 700 it"):
        State(state).prepare()


def test_a_directory_with_something_else_in_it_is_refused_and_left_alone(state: Path) -> None:
    (state / "thesis.txt").write_text("…")
    with pytest.raises(MeshError, match=r"holds what is not the mesh's \(thesis.txt\)"):
        State(state).prepare()
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(state: Path) -> None:
    os.chown(state, 65534, 65534)
    with pytest.raises(MeshError, match="belongs to somebody else"):
        State(state).prepare()


def test_a_link_to_a_directory_is_refused(state: Path) -> None:
    (state / "real").mkdir(mode=0o700)
    (state / "link").symlink_to(state / "real")
    with pytest.raises(MeshError, match="is no directory"):
        State(state / "link").prepare()


def test_a_file_in_its_place_is_refused(state: Path) -> None:
    (state / "file").touch()
    with pytest.raises(MeshError, match="--state DIR or GRPC_TRACING_HOME chooses another"):
        State(state / "file").prepare()


def test_one_holds_the_lock_until_it_lets_go(state: Path) -> None:
    held = State(state).lock()
    assert held is not None
    assert State(state).lock() is None
    os.close(held)
    with State(state).locked() as ours:
        assert ours


def test_clearing_leaves_the_logs_and_nothing_else(state: Path) -> None:
    one = State(state)
    one.make()
    one.write_facts({"pid": 1})
    one.log("svc1").write_text("said")
    assert one.is_stale()
    one.clear()
    assert not one.is_stale()
    assert [path.name for path in state.iterdir()] == ["logs"]
    assert one.log("svc1").read_text() == "said"


def test_a_held_port_is_closed_to_others_and_open_to_an_envoy() -> None:
    with ports.hold_for_envoy(0, "--port") as held, socket.socket() as other, socket.socket() as envoy:
        address = (ports.HOST, ports.number(held))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(address)
        envoy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        envoy.bind(address)
        envoy.listen()


@pytest.mark.parametrize("hold", [ports.hold_for_envoy, ports.hold_for_server])
def test_a_taken_port_is_refused_with_the_option_that_moves_it(hold: Callable[[int, str], socket.socket]) -> None:
    with socket.create_server((ports.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MeshError, match=f"port {port} is taken: --pages-port PORT moves it"):
            hold(port, "--pages-port")


def test_two_holds_of_one_port_are_one_too_many() -> None:
    with ports.hold_for_envoy(0, "--port") as held, pytest.raises(MeshError, match="is taken"):
        ports.hold_for_envoy(ports.number(held), "--port")


def test_a_server_that_shares_no_port_can_listen_on_one_held_for_it() -> None:
    held = ports.hold_for_server(0, "--otlp-http-port")
    with held, socket.create_server((ports.HOST, ports.number(held))) as server:
        socket.create_connection(server.getsockname()).close()
