"""test.sh for the local mesh, as far as it goes without one."""

import signal
import tempfile
from pathlib import Path

import pytest

from deploy import local
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
