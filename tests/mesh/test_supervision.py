"""Starting, dying, healing, ending: what is left, and what is said."""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest

from mesh import control
from mesh.errors import MeshError
from mesh.state import State
from tests.mesh.support import ANY_PORTS, Mesh, belonging_to, call, mesh, state_directory
from tests.support.cells import cells
from tests.support.processes import ROOT, runs
from tests.support.waiting import wait_for

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if runs(pid)]


@pytest.fixture(scope="module")
def patient() -> Iterator[Mesh]:
    """A mesh that is killed in parts and healed again."""
    with mesh() as one:
        yield one


# What a call says while a process is dead: status, and how the message begins. The store's death costs no call.
SAID = {
    "ingress": (UNAVAILABLE, "failed to connect to all addresses"),
    "svc1": (UNAVAILABLE, "svc1's sidecar: "),
    "svc1-sidecar": (UNAVAILABLE, "ingress -> svc1: "),
    "svc2": (UNAVAILABLE, "svc1 -> svc2: svc2's sidecar: "),
    "svc2-sidecar": (UNAVAILABLE, "svc1 -> svc2: svc1's sidecar: "),
    "svc3": (UNAVAILABLE, "svc2 -> svc3: svc3's sidecar: "),
    "svc3-sidecar": (UNAVAILABLE, "svc2 -> svc3: svc2's sidecar: "),
    "svc3-canary": (UNAVAILABLE, "svc2 -> svc3: svc3-canary's sidecar: "),
    "svc3-canary-sidecar": (UNAVAILABLE, "svc2 -> svc3: svc2's sidecar: "),
    "traces": (OK, ""),
}


@pytest.mark.parametrize("name", cells(SAID, ("svc2",)))
def test_a_killed_process_is_named_by_status_and_by_the_call_and_healed_by_up(patient: Mesh, name: str) -> None:
    lane = [("x-lane", "canary")] if "canary" in name else []
    assert call(patient.target, *lane).code is OK
    patient.kill(name)
    told = wait_for(lambda: _status_when_dead(patient), f"status notices that {name} is dead")
    assert f"{name} " in told
    assert "killed by SIGKILL (up starts it again)" in told
    outcome = call(patient.target, *lane)
    code, beginning = SAID[name]
    assert (outcome.code, outcome.details[: len(beginning)]) == (code, beginning)
    healed = patient.run("up")
    assert (healed.returncode, healed.stdout.splitlines()[0]) == (0, f"started again: {name}")
    assert patient.run("status").returncode == 0
    assert call(patient.target, *lane).code is OK


def _status_when_dead(one: Mesh) -> str:
    done = one.run("status")
    return done.stdout if done.returncode == 1 else ""


def test_all_names_are_tried(patient: Mesh) -> None:
    assert {part["name"] for part in patient.facts["processes"]} == set(SAID)


def test_a_process_that_hangs_is_named_by_status(patient: Mesh) -> None:
    hanging = patient.process("svc2")
    hanging.suspend()
    try:
        done = patient.run("status")
        assert done.returncode == 1
        assert "runs, and does not answer" in done.stdout
    finally:
        hanging.resume()


def test_up_when_all_is_well_says_so(patient: Mesh) -> None:
    done = patient.run("up")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "mesh is up already")


def test_up_with_other_options_is_refused_and_changes_nothing(patient: Mesh) -> None:
    before = patient.pids
    done = patient.run("up", "--replicas", "2", "--tracer", "otlp")
    assert done.returncode == 1
    assert done.stderr == (
        "mesh: a mesh with another replicas is up: take it down first, or --state DIR starts one beside it\n"
    )
    assert patient.pids == before


def test_logs_prints_the_log_of_a_process(patient: Mesh) -> None:
    done = patient.run("logs", "svc2")
    assert '"event":' in done.stdout.replace(" ", "")
    unknown = patient.run("logs", "svc9")
    assert unknown.returncode == 1
    assert "no log of svc9: there are ingress, mesh, svc1" in unknown.stderr


def test_a_reader_that_has_read_enough_is_no_error(patient: Mesh) -> None:
    command = [sys.executable, "-m", "mesh", "status", "--state", str(patient.state)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        assert asking.stdout
        assert asking.stderr
        asking.stdout.close()
        said = asking.stderr.read()
    assert (asking.returncode, said) == (128 + signal.SIGPIPE, "")


def test_status_as_json_is_one_object_with_all_there_is_to_know(patient: Mesh) -> None:
    found = patient.status()
    assert {"pid", "directory", "options", "target", "traces", "inbound", "processes"} <= set(found)
    assert all(part["answers"] and part["pid"] > 1 for part in found["processes"])


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_supervisor_takes_every_process_along_and_up_starts_afresh() -> None:
    with mesh() as one:
        pids = list(one.pids.values())
        one.kill("mesh")
        wait_for(lambda: not alive(pids), "all processes end")
        told = one.run("status")
        assert told.returncode == 3
        assert "the last one was killed (up starts afresh, down clears what it left)" in told.stderr
        one.up(*ANY_PORTS)
        assert call(one.target).code is OK


def test_down_clears_what_a_killed_mesh_left() -> None:
    with mesh() as one:
        pids = list(one.pids.values())
        one.kill("mesh")
        wait_for(lambda: not alive(pids), "all processes end")
        done = one.run("down")
        assert (done.returncode, done.stdout) == (0, "cleared what a killed mesh left behind\n")
        assert [path.name for path in one.state.iterdir()] == ["logs"]


def test_a_service_that_cannot_start_is_a_line_and_nothing_is_left(state: Path) -> None:
    one = Mesh(state)
    done = one.run("up", *ANY_PORTS, "--propagate", "svc2=w4c")
    assert done.returncode == 1
    assert done.stderr.startswith("mesh: svc2 ended with exit code 2: ")
    assert "w4c" in done.stderr
    assert done.stderr.count("\n") == 1
    assert belonging_to(state) == []
    assert [path.name for path in state.iterdir()] == ["logs"]


PORT_OPTIONS = ("--port", "--pages-port", "--otlp-grpc-port", "--otlp-http-port")


@pytest.mark.parametrize("option", cells(PORT_OPTIONS, PORT_OPTIONS[:1]))
def test_a_taken_port_is_a_line_that_names_the_option_that_moves_it(state: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = Mesh(state).run("up", *ANY_PORTS, option, port)
    assert done.returncode == 1
    assert done.stderr == (f"mesh: port {port} is taken: {option} PORT moves it ({option} 0 takes any free one)\n")
    assert belonging_to(state) == []


def test_a_second_mesh_does_not_share_the_firsts_port(patient: Mesh, state: Path) -> None:
    port = patient.target.rpartition(":")[2]
    done = Mesh(state).run("up", *ANY_PORTS, "--port", port)
    assert (done.returncode, f"port {port} is taken" in done.stderr) == (1, True)


def test_without_envoy_there_is_a_line_and_another_way(state: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    packages = tmp_path / "packages"
    packages.mkdir()
    for package in Path(grpc.__file__).parents[1].iterdir():
        if not package.name.startswith(("envoy", "__pycache__")):
            (packages / package.name).symlink_to(package)
    started = subprocess.run(
        [tmp_path / "venv/bin/python", "-m", "mesh", "up", "--state", str(state), *ANY_PORTS],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{packages}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert started.stderr.startswith("mesh: no Envoy: ")
    assert "--no-mesh runs the three services alone" in started.stderr
    assert started.stderr.count("\n") == 1


def test_an_envoy_that_is_none_is_a_line(state: Path) -> None:
    done = Mesh(state).run("up", *ANY_PORTS, "--envoy", "/nowhere/envoy")
    assert (done.returncode, done.stderr) == (
        1,
        "mesh: cannot run /nowhere/envoy: No such file or directory; --envoy PATH names another Envoy\n",
    )


@pytest.mark.parametrize("command", ["status", "down", "logs"])
def test_with_no_mesh_up_every_command_says_so(state: Path, command: str) -> None:
    done = Mesh(state / "none").run(command, *(["svc1"] if command == "logs" else []))
    assert done.returncode == {"status": 3, "down": 0, "logs": 1}[command]
    assert (done.stdout + done.stderr).count("\n") == 1
    assert "Traceback" not in done.stderr


def test_an_interrupted_up_leaves_nothing(state: Path) -> None:
    command = [sys.executable, "-m", "mesh", "up", "--state", str(state), *ANY_PORTS]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as starting:
        wait_for((state / "mesh.json").exists, "it is on its way")
        pids = list(Mesh(state).pids.values())
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=60)
    assert (starting.returncode, said) == (130, "mesh: interrupted\n")
    wait_for(lambda: not alive(pids), "all processes end")
    assert belonging_to(state) == []


def test_a_killed_up_leaves_nothing(state: Path) -> None:
    command = [sys.executable, "-m", "mesh", "up", "--state", str(state), *ANY_PORTS, "--run", "svc3=sleep 600"]
    with subprocess.Popen(command, cwd=ROOT) as starting:
        wait_for((state / "mesh.json").exists, "it is on its way")
        pids = list(Mesh(state).pids.values())
        starting.kill()
    wait_for(lambda: not alive(pids), "all processes end")


@pytest.mark.full
@pytest.mark.parametrize("command", cells(["status", "down"], ["status"]))
def test_a_mesh_that_begins_or_ends_is_waited_for(state: Path, command: str) -> None:
    """Its lock is held, and it does not listen: until it lets go, here."""
    descriptor = os.open(state, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    words = [sys.executable, "-m", "mesh", command, "--state", str(state)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asking:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(5)
        os.close(descriptor)
        said, _ = asking.communicate(timeout=60)
    assert (asking.returncode, said.split(" in ")[0].strip()) == {
        "status": (3, "mesh: no mesh is up"),
        "down": (0, "mesh is down"),
    }[command]


@pytest.mark.parametrize(
    ("facts", "fix"), [({"pid": 7}, "kill -9 7 (its supervisor) ends it"), ({}, "it still starts, try again")]
)
def test_a_mesh_that_never_listens_is_told(
    state: Path, facts: dict[str, int], fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BETWEEN", 0.1)
    with State(state).locked():
        (state / "mesh.json").write_text(json.dumps(facts))
        with pytest.raises(MeshError) as told:
            control.status(State(state))
    assert fix in str(told.value)


@pytest.mark.full
def test_two_ups_at_once_make_one_mesh(state: Path) -> None:
    command = [sys.executable, "-m", "mesh", "up", "--state", str(state), *ANY_PORTS]
    with ExitStack() as stack:
        both = [
            stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        said = sorted(one.communicate(timeout=60)[0].split(" (")[0].splitlines()[0] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert said == ["mesh is up", "mesh is up already"]


def _ports_of_nobody() -> Iterator[str]:
    """Free ones below those that a system gives to whoever asks for any: nobody takes them between two cycles."""
    for port in random.sample(range(20_000, 32_000), k=100):
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            yield str(port)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cycles", cells([2, 20], [2]))
def test_cycles_leave_no_process_no_file_and_no_port(cycles: int) -> None:
    with state_directory() as directory:
        one = Mesh(directory / "mesh")
        options = [text for pair in zip(PORT_OPTIONS, _ports_of_nobody(), strict=False) for text in pair]
        one.up(*options)
        facts = one.facts
        addresses = [facts["target"], facts["otlp_grpc"], *facts["inbound"].values()]
        addresses += [facts[name].removeprefix("http://") for name in ("traces", "otlp_http")]
        assert one.run("down").returncode == 0
        seen: list[int] = []
        for _ in range(cycles):
            one.up(*options)  # the same public ports each time
            seen += one.pids.values()
            assert one.run("down").returncode == 0
        assert alive(seen) == []
        assert belonging_to(directory) == []
        assert [path.name for path in one.state.iterdir()] == ["logs"]
        assert [path.name for path in directory.iterdir()] == ["mesh"]
        for address in addresses:
            with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
                pass


@pytest.mark.full
def test_three_meshes_stand_side_by_side() -> None:
    with ExitStack() as stack:
        meshes = [stack.enter_context(mesh()) for _ in range(3)]
        for one in meshes:
            outcome = call(one.target)
            assert outcome.path == ["svc1", "svc2", "svc3"]
            assert len(one.spans(outcome.trace_ids[0], 6)) == 6
        assert meshes[0].run("down").returncode == 0
        assert [call(one.target).code for one in meshes[1:]] == [OK, OK]


@pytest.mark.full
def test_without_envoys_the_services_stand_alone() -> None:
    with mesh("--no-mesh") as one:
        assert sorted(one.pids) == ["mesh", "svc1", "svc2", "svc3"]
        outcome = call(one.target, ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
        assert outcome.path == ["svc1", "svc2", "svc3"]
        assert outcome.trace_ids == ["4bf92f3577b34da6a3ce929d0e0e4736"]
        one.kill("svc2")
        assert "svc1 -> svc2: " in wait_for(lambda: call(one.target).details, "the call fails")
        assert one.run("up").stdout.startswith("started again: svc2")
        assert call(one.target).code is OK


@pytest.mark.full
def test_without_identities_there_are_no_certificates() -> None:
    with mesh("--no-mtls") as one:
        assert not list((one.state / "identities").iterdir())
        assert call(one.facts["inbound"]["svc3"]).path == ["svc3"]
        assert call(one.target).path == ["svc1", "svc2", "svc3"]


@pytest.mark.full
def test_settings_of_the_services_come_from_the_environment_and_the_wiring_does_not(state: Path) -> None:
    one = Mesh(state)
    settings = {"TALK_LOG_FORMAT": "text", "TALK_NAME": "svc9", "TALK_NEXT_HOP": "none"}
    assert one.run("up", *ANY_PORTS, **settings).returncode == 0
    assert call(one.target).path == ["svc1", "svc2", "svc3"]
    with pytest.raises(json.JSONDecodeError):
        json.loads((state / "logs" / "svc1.log").read_text().splitlines()[0])


def test_the_log_of_a_busy_service_is_cut(tmp_path: Path) -> None:
    from mesh import supervisor

    log = tmp_path / "svc1.log"
    with log.open("ab", buffering=0) as writer:
        writer.truncate(supervisor.LOG_LIMIT)
        writer.write(b"last line\n")
        supervisor._cut(log)
        writer.write(b"next line\n")
    assert log.read_bytes() == b"next line\n"
    kept = log.with_suffix(".log.1")
    assert kept.read_bytes().endswith(b"last line\n")
    assert kept.stat().st_size == supervisor.LOG_LIMIT // 2
    shutil.rmtree(tmp_path)
