"""A kubeconfig that leads nowhere, with the real kubectl: one line that says what to do, from every command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.kubernetes.rendering import ROOT, Object
from tests.support.missing import missing

APPLY = ("apply", "k8s", "--image", "registry.example/team/grpc-tracing:1.2")
COMMANDS = [
    APPLY,
    (*APPLY, "--with", "lanes"),
    ("apply", "k8s", "check"),
    ("apply", "k8s", "status"),
    ("apply", "k8s", "down"),
    ("test", "k8s"),
]
GONE = 'the cluster does not answer (error: context "gone" does not exist): kubectl config get-contexts shows those'
NO_CREDENTIALS = "the cluster does not answer (no credentials): the context's user in KUBECONFIG has none"
CASES = [*(((*command, "--context", "gone"), GONE) for command in COMMANDS), (APPLY, NO_CREDENTIALS)]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """One context, whose user has no credentials."""
    if not shutil.which("kubectl"):
        missing("kubectl is not installed")
    found: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(found))
    return file


@pytest.mark.parametrize(("command", "said"), CASES)
def test_it_is_told_in_a_line(kubeconfig: Path, command: tuple[str, ...], said: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MESH_KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *command],
        cwd=ROOT,
        env=environment | {"KUBECONFIG": str(kubeconfig)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == (2 if command[0] == "test" else 1), done.stderr
    assert len([line for line in done.stderr.splitlines() if said in line]) == 1, done.stderr
    assert "Traceback" not in done.stderr
