"""scripts/venv.sh on machines that lack something: it says what, and takes no half-made environment for a whole one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.rendering import ROOT

ADVICE = "needs Python 3.11 or later with its venv module: install it (Debian: apt install python3-venv)"
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A lock file that is installed, as its stamp says, and a Python on PATH that lacks a module."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for folder in ("requirements", ".venv"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "some.lock").touch()
    for name in PYTHONS:
        _python_without("ensurepip", tmp_path / "bin" / name)
    (tmp_path / "bin" / "cmp").symlink_to(shutil.which("cmp") or "")
    return tmp_path


def _python_without(module: str, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    code = f"import sys; sys.modules[{module!r}] = None; exec(sys.argv[1])"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$2"\n')
    path.chmod(0o755)


def _venv(repository: Path) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-eu", "-c", ". scripts/venv.sh; venv some"]
    environment = {"PATH": str(repository / "bin")}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


def test_a_python_that_cannot_make_environments_is_told_from_one_that_can(repository: Path) -> None:
    done = _venv(repository)
    assert (done.returncode, done.stderr[: len(ADVICE)]) == (2, ADVICE)


def test_an_environment_without_pip_is_made_anew(repository: Path) -> None:
    _python_without("pip", repository / ".venv" / "bin" / "python")
    assert _venv(repository).returncode == 2, "it looks for a Python that makes one"


def test_an_environment_that_holds_what_the_lock_file_says_stays(repository: Path) -> None:
    _python_without("nothing", repository / ".venv" / "bin" / "python")
    assert _venv(repository).returncode == 0
