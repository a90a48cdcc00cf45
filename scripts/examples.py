"""The example hops of the guide, by language: how each is made ready, and how it is run."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
GETTING = 300.0
"""Seconds for a download or a build, both made once; only a hang takes longer."""

Command = Sequence[str | Path]


class MissingError(Exception):
    """This machine lacks what an example needs; the message names it."""


PYTHON = {
    "aio": "docs.examples.aio_hop",
    "aio-library": "docs.examples.aio_hop_library",
    "sync": "docs.examples.sync_hop",
    "sync-library": "docs.examples.sync_hop_library",
}
"""The modules of those in Python."""


def python(kind: str, *interpreter: str | Path) -> Command:
    """Runs a module with logging on, where grpcio tells which errors have left a handler uncaught."""
    run = f"import logging, runpy; logging.basicConfig(); runpy.run_module('{PYTHON[kind]}', run_name='__main__')"
    return (*(interpreter or (sys.executable,)), "-c", run)


def node(_: Path) -> Command:
    source = EXAMPLES / "node"
    lock = source / "package-lock.json"

    def install(folder: Path) -> None:
        for file in (lock, source / "package.json"):
            shutil.copy(file, folder)
        download((need("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"), folder)

    return node_program(source / "hop.js", kept("node", lock, install))


def node_program(program: Path, installed: Path) -> Command:
    """Runs a program whose packages are elsewhere."""
    return ("env", f"NODE_PATH={installed / 'node_modules'}", need("node"), program)


def go(folder: Path) -> Command:
    program, made = need("go"), folder / "hop"
    download((program, "mod", "download"), EXAMPLES / "go")
    build((program, "build", "-o", made, "."), EXAMPLES / "go")
    return (made,)


def java(folder: Path) -> Command:
    return java_program(EXAMPLES / "java" / "Hop.java", folder, "java")


def java_program(source: Path, folder: Path, kind: str) -> Command:
    """Builds a program into a folder with the libraries of the `pom.xml` beside it, which are kept under `kind`."""
    program, maven, home = need("java"), need("mvn"), source.parent

    def install(libraries: Path) -> None:
        download((maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={libraries}"), home)

    libraries = f"{kept(kind, home / 'pom.xml', install)}/*"
    build((need("javac"), "-Xlint:all", "-Werror", "-cp", libraries, "-d", folder, source.name), home)
    return (program, "-cp", f"{folder}:{libraries}", source.stem)


KINDS: dict[str, Callable[[Path], Command]] = {
    "aio": lambda _: python("aio"),
    "aio-library": lambda _: python("aio-library"),
    "sync": lambda _: python("sync"),
    "sync-library": lambda _: python("sync-library"),
    "node": node,
    "go": go,
    "java": java,
}


def need(program: str) -> str:
    """Where it is; MissingError without it."""
    found = shutil.which(program)
    if found is None:
        raise MissingError(f"{program} is not installed")
    return found


def kept(kind: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """The folder with what `install` downloads, kept for the next run until the lock file changes.

    Workers of one run want the same one: the first installs it, and the others wait.
    """
    folder = ROOT / ".cache" / f"{kind}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                made = Path(unfinished, folder.name)
                made.mkdir()
                install(made)
                made.rename(folder)  # whole, or not at all
    return folder


def download(command: Command, folder: Path) -> None:
    """MissingError where the language's package registry cannot be reached."""
    ended = run(command, folder)
    if ended.returncode:
        raise MissingError(f"{command[0]} cannot get the libraries: {(ended.stderr or ended.stdout).strip()[-300:]}")


def build(command: Command, folder: Path) -> None:
    """RuntimeError with what the compiler says."""
    ended = run(command, folder)
    if ended.returncode:
        raise RuntimeError(ended.stderr)


def run(command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=GETTING, check=False
    )
