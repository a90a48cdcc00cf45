"""The environment in which Spark and chDB stand: some 900 MB, apart from the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import settings
from tests.support.processes import ROOT

PYTHON = "ENGINES_PYTHON"
"""A Python that has requirements/engines.lock already."""


def python(factory: pytest.TempPathFactory) -> str:
    """Its Python, once for a run."""
    if PYTHON in os.environ:
        return os.environ[PYTHON]
    folder = factory.getbasetemp().parent / "engines"
    if not folder.exists():
        _install(folder)
    return str(folder / "bin" / "python")


def _install(folder: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    lock = str(ROOT / "requirements" / "engines.lock")
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes", "-r", lock],
    ):
        done = subprocess.run(
            command, env=settings.for_uv(settings.read(sys.executable)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
