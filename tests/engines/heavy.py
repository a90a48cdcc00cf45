"""Environments in which Spark and chDB stand, some 500 and 900 MB, apart from the tests' own.

`python -m tests.engines.heavy FOLDER LOCK` makes one and says its Python.
"""

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
SPARK = "SPARK_PYTHON"
"""One that has requirements/spark.lock, which is enough for Spark."""


def python(factory: pytest.TempPathFactory) -> str:
    """Its Python, once for a run."""
    if PYTHON in os.environ:
        return os.environ[PYTHON]
    folder = factory.getbasetemp().parent / "engines"
    return str(_python(folder)) if folder.exists() else install(folder, "engines")


def with_spark() -> str:
    """A Python that has Spark, where somebody made one; else skips."""
    found = os.environ.get(SPARK) or os.environ.get(PYTHON)
    if not found:
        pytest.skip(f"no Spark: {SPARK} names no Python with requirements/spark.lock")
    if not shutil.which("java"):
        pytest.skip("no java, which Spark needs")
    return found


def install(folder: Path, lock: str) -> str:
    """Makes an environment of what requirements/LOCK.lock has, and gives its Python."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    held = str(ROOT / "requirements" / f"{lock}.lock")
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(_python(folder)), "--require-hashes", "-r", held],
    ):
        done = subprocess.run(
            command, env=settings.for_uv(settings.read(sys.executable)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return str(_python(folder))


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


if __name__ == "__main__":
    sys.stdout.write(install(Path(sys.argv[1]), sys.argv[2]) + "\n")
