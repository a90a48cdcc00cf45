"""Which Envoy the mesh runs: the machine's own where it has one that is new enough, else the package's."""

import importlib.util
from pathlib import Path

import pytest

from mesh.envoy import binary
from mesh.errors import MeshError, NoEnvoyError


def _envoy(folder: Path, version: str, first: str = "#!/bin/sh") -> Path:
    """A stand-in that says its version and nothing else."""
    path = folder / "envoy"
    path.write_text(f"{first}\necho 'envoy  version: 9e5580/{version}/Clean/RELEASE/BoringSSL'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Envoy but what a test puts there: neither package nor program."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ENVOY", raising=False)


def test_one_on_path_is_used(tmp_path: Path) -> None:
    own = _envoy(tmp_path, "1.37.0")
    assert binary.find() == own


def test_one_that_is_named_goes_before_that_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _envoy(tmp_path, "1.40.0")
    (tmp_path / "own").mkdir()
    own = _envoy(tmp_path / "own", "1.41.2")
    monkeypatch.setenv("ENVOY", "own/envoy")
    monkeypatch.chdir(tmp_path)
    assert binary.find() == own


def test_one_on_path_that_is_too_old_is_passed_over_and_named(tmp_path: Path) -> None:
    old = _envoy(tmp_path, "1.36.4")
    with pytest.raises(
        NoEnvoyError, match=rf"no Envoy: {old} is 1.36.4; ENVOY=/path/to/envoy names one, 1.37 or later"
    ):
        binary.find()


def test_a_packages_start_script_is_not_taken_for_envoy(tmp_path: Path) -> None:
    _envoy(tmp_path, "1.40.0", first="#!/some/.venv/bin/python")
    with pytest.raises(NoEnvoyError, match="its package has no build for this machine"):
        binary.find()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.36.4", r"ENVOY=envoy is 1.36.4: the mesh needs 1.37 or later"),
        ("unknown", r"envoy --version does not answer as Envoy does: ENVOY=/path/to/envoy names another"),
        (None, r"ENVOY=envoy: no such program; name an Envoy, or unset ENVOY"),
    ],
)
def test_one_that_is_named_and_does_not_fit_is_an_error(
    version: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version:
        _envoy(tmp_path, version)
    monkeypatch.setenv("ENVOY", "envoy")
    with pytest.raises(MeshError, match=message):
        binary.find()
