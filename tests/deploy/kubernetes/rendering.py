"""What `kubectl kustomize` makes of a folder, as Python objects."""

import copy
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.missing import missing

ROOT = Path(__file__).parents[3]
K8S = ROOT / "k8s"

Object = dict[str, Any]

OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir()))
COMPONENTS = tuple(sorted({path.name for path in (K8S / "components").iterdir()} - {"ambient"}))
"""Those that go together: ambient is another data plane, and stands by itself."""
# What a user may give to kubectl as it stands.
FOLDERS = ("base", "mesh", *(f"overlays/{name}" for name in OVERLAYS))


def render(folder: Path) -> list[Object]:
    """The objects of one folder, the caller's own to change. A warning of kubectl's fails the test."""
    return copy.deepcopy(_rendered(folder))


@cache
def _rendered(folder: Path) -> list[Object]:
    if not shutil.which("kubectl"):
        missing("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"kubectl kustomize {folder}: {done.stderr}"
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def render_with(components: tuple[str, ...], scratch: Path) -> list[Object]:
    """The overlay istio with these components, as a user composes them in a folder of their own."""
    folder = K8S / "overlays" / "istio"
    kustomization = {
        "resources": [_relative(folder, scratch)],
        "components": [_relative(K8S / "components" / name, scratch) for name in components],
    }
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(scratch)


def _relative(target: Path, start: Path) -> str:
    # kustomize refuses absolute paths.
    return os.path.relpath(target.resolve(), start.resolve())
