"""test.sh for the local mesh, as far as it goes without one."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import place as local
from mesh.envoy import binary
from mesh.errors import NoEnvoyError
from tests.support.processes import chain


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # SIGTERM stays the test run's


def test_wrong_use_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: made.append("folder"))
    assert local.test("local", ["--state", str(tmp_path), "--no-mesh", "--replicas", "2"]) == 2
    assert made == []


@pytest.mark.parametrize("option", [("--target", "{}"), ("--target={}",)])
def test_a_target_that_is_named_is_called_and_no_mesh_is_made(option: tuple[str, ...], tmp_path: Path) -> None:
    with chain(tmp_path) as running:
        named = [part.format(running.target) for part in option]
        assert local.test("local", ["--rpc", "Talk", "--json", *named]) == 0


def test_without_any_envoy_it_says_so_and_tests_the_services_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none() -> Path:
        raise NoEnvoyError("no Envoy: --no-mesh runs the services alone")

    monkeypatch.setattr(binary, "find", none)
    assert local.test("local", ["--state", str(tmp_path), "--rpc", "Talk"]) == 0
    said = capfd.readouterr()
    assert said.err.startswith("mesh: no Envoy: --no-mesh runs the services alone, and so does this run\n")
    assert "connected: the call passed svc1, svc2, svc3" in said.out


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_what_it_writes_goes_to_the_folder_that_is_named(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_TRACING_HOME", str(short_folder / "made"))
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    assert local.test("local", ["--no-mesh", "--rpc", "Talk"]) == 0
    assert list((short_folder / "made").iterdir()) == [], "and is taken away"


def test_a_folder_that_no_address_may_name_is_a_line(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRPC_TRACING_HOME", str(short_folder / "a folder"))
    assert local.test("local", ["--no-mesh"]) == 2
    assert "which no address may have: --state DIR or GRPC_TRACING_HOME chooses another" in capfd.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRPC_TRACING_HOME", "/proc/none")
    assert local.test("local", ["--no-mesh"]) == 2
    fix = "cannot write to /proc/none: No such file or directory; GRPC_TRACING_HOME names another folder"
    assert capfd.readouterr().err.splitlines()[-1] == f"mesh: {fix}"
