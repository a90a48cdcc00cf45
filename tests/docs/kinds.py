"""The example hops of the guide, by language: how each is made ready, and how it is run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.processes import ROOT

EXAMPLES = ROOT / "docs" / "examples"
GETTING = 300.0
"""Seconds for a download or a build, both made once; only a hang takes longer."""

Command = Sequence[str | Path]


def aio(_: Path) -> Command:
    return (sys.executable, "-m", "docs.examples.aio_hop")


def sync(_: Path) -> Command:
    return (sys.executable, "-m", "docs.examples.sync_hop")


def node(folder: Path) -> Command:
    """A copy with its packages beside it: tests leave no node_modules in the tree."""
    program = need("node")
    copied = shutil.copytree(EXAMPLES / "node", folder / "node", ignore=shutil.ignore_patterns("node_modules"))
    download((need("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"), copied)
    return (program, copied / "hop.js", ROOT / "protos" / "landing.proto")


def go(folder: Path) -> Command:
    program, made = need("go"), folder / "hop"
    download((program, "mod", "download"), EXAMPLES / "go")
    ended = run((program, "build", "-o", made, "."), EXAMPLES / "go")
    assert ended.returncode == 0, ended.stderr
    return (made,)


def java(folder: Path) -> Command:
    """Maven puts the libraries into a folder; javac makes the rest."""
    program, maven = need("java"), need("mvn")
    libraries, classes = folder / "libraries", folder / "classes"
    copy = "dependency:copy-dependencies"
    download((maven, "-q", "-B", copy, f"-DoutputDirectory={libraries}"), EXAMPLES / "java")
    ended = run(
        (need("javac"), "-Werror", "-Xlint:all", "-cp", f"{libraries}/*", "-d", classes, "Hop.java"), EXAMPLES / "java"
    )
    assert ended.returncode == 0, ended.stderr
    return (program, "-cp", f"{classes}:{libraries}/*", "Hop")


KINDS: dict[str, Callable[[Path], Command]] = {"aio": aio, "sync": sync, "node": node, "go": go, "java": java}


def need(program: str) -> str:
    """Where it is; without it the test is skipped."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def download(command: Command, folder: Path) -> None:
    """Skips where the language's package registry cannot be reached."""
    ended = run(command, folder)
    if ended.returncode:
        pytest.skip(f"{command[0]} cannot get the libraries: {(ended.stderr or ended.stdout).strip()[-300:]}")


def run(command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=GETTING, check=False
    )
