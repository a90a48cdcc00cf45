"""What makes the environment: which Python it takes, what it lets in, and what it says where it cannot go on."""

import base64
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import venv
from tests.support.cells import rows
from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(600)

ADVICE = "needs Python 3.11 or later with its venv module: install it (Debian: apt install python3-venv)"
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15")
PATIENCE = 150.0
"""Seconds for a run, which makes an environment in a few; only a hang takes longer."""
SETTLED = "import tiny; assert tiny.WHOLE"


def _wheel(folder: Path, name: str) -> str:
    """A package of one line. Its line in a lock file."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "WHOLE = True\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Checkout:
    """The scripts with lock files of one small package each, which lie in a folder beside them."""

    root: Path
    tools: Path
    wheels: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "HOME": str(self.root),
            "PYTHON": sys.executable,
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_NO_INDEX": "1",
        }

    def start(self, **more: str) -> subprocess.Popen[str]:
        command = ["/bin/sh", "-eu", "-c", ". scripts/venv.sh; venv local"]
        environment = {name: value for name, value in (self.environment | more).items() if value}
        return subprocess.Popen(command, cwd=self.root, env=environment, stderr=subprocess.PIPE, text=True)

    def run(self, **more: str) -> tuple[int, list[str]]:
        """Exit code and the lines that it said; an empty variable is none."""
        with self.start(**more) as process:
            _, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, errors.splitlines()

    def runs(self, code: str) -> bool:
        return venv.runs(self.root / ".venv", code)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "requirements").mkdir()
    for name, package in (("local", "tiny"), ("envoy", "proxy")):
        (root / "requirements" / f"{name}.lock").write_text(_wheel(tmp_path / "wheels", package))
    tools = tmp_path / "tools"
    tools.mkdir()
    return Checkout(root, tools, tmp_path / "wheels")


def _python_without(module: str, path: Path) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; exec(sys.argv[1])"
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -c ]; do shift; done\nexec "{sys.executable}" -c "{code}" "$2"\n')
    path.chmod(0o755)


@pytest.mark.full
def test_a_first_run_installs_and_says_so_in_a_line(checkout: Checkout) -> None:
    assert checkout.run() == (0, [f"setup: installing 1 packages into {checkout.root}/.venv, once"])
    assert checkout.runs(f"{SETTLED}; import proxy")
    assert checkout.run() == (0, [])


@pytest.mark.full
def test_a_folder_that_is_named_takes_the_environment(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.run(GRPC_TRACING_HOME=str(tmp_path / "home"))[0] == 0
    assert venv.runs(tmp_path / "home" / "venv", SETTLED)
    assert not (checkout.root / ".venv").exists()


@pytest.mark.full
def test_what_is_set_for_other_pythons_does_not_leak_in(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "other" / "tiny").mkdir(parents=True)
    (checkout.root / "pip.conf").write_text("[global]\nuser = true\n[install]\nno-deps = true\n")
    elsewhere = str(tmp_path / "elsewhere")
    leaks = dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "VIRTUAL_ENV", "CONDA_PREFIX"), elsewhere)
    leaks |= dict.fromkeys(("PYTHONHOME", "PIP_CONSTRAINT", "PIP_PYTHON", "UV_PYTHON"), "/nowhere")
    leaks |= {"PIP_USER": "1", "PYTHONSAFEPATH": "1", "PYTHONPATH": str(tmp_path / "other")}
    leaks |= {"PIP_CONFIG_FILE": str(checkout.root / "pip.conf")}
    assert checkout.run(**leaks)[0] == 0
    assert checkout.runs(SETTLED)
    assert not Path(elsewhere).exists()


@pytest.mark.full
def test_a_pip_conf_of_the_users_says_where_packages_are(checkout: Checkout) -> None:
    configuration = checkout.root / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"[global]\nno-index = true\nfind-links = {checkout.wheels}\nuser = true\n")
    assert checkout.run(PIP_FIND_LINKS="", PIP_NO_INDEX="")[0] == 0
    assert checkout.runs(SETTLED)


def test_uv_is_used_where_it_is_installed(checkout: Checkout) -> None:
    (checkout.tools / "uv").symlink_to(shutil.which("uv", path=str(Path(sys.executable).parent)) or "")
    leaks = {"UV_PYTHON": "/nowhere", "UV_SYSTEM_PYTHON": "1", "VIRTUAL_ENV": "/nowhere"}
    assert checkout.run(UV_FIND_LINKS=str(checkout.wheels), UV_OFFLINE="1", **leaks)[0] == 0
    assert checkout.runs(f"{SETTLED}; import proxy")
    assert not checkout.runs("import pip")


@pytest.mark.full
def test_two_first_runs_side_by_side_wait_for_each_other(checkout: Checkout) -> None:
    with checkout.start() as one, checkout.start() as other:
        said = "".join(process.communicate(timeout=PATIENCE)[1] for process in (one, other))
    assert (one.returncode, other.returncode) == (0, 0)
    waiting = "setup: another run is installing here: waiting for it"
    assert sorted(said.splitlines()) == [waiting, f"setup: installing 1 packages into {checkout.root}/.venv, once"]


@pytest.mark.full
def test_a_first_run_that_was_killed_is_made_good_by_the_next(checkout: Checkout) -> None:
    assert checkout.run()[0] == 0
    folder = checkout.root / ".venv"
    (tiny,) = folder.glob("lib/*/site-packages/tiny.py")
    tiny.write_text("WHOLE = ")  # as a kill leaves it: half of a file, the mark, no copy of the lock file
    (folder / "unfinished").touch()
    (folder / "local.lock").unlink()
    assert checkout.run()[0] == 0
    assert checkout.runs(SETTLED)
    assert not (folder / "unfinished").exists()


@pytest.mark.full
def test_an_environment_that_lost_its_python_or_its_pip_is_made_anew(checkout: Checkout) -> None:
    assert checkout.run()[0] == 0
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.run()[0] == 0
    assert checkout.runs(SETTLED)
    (pip,) = (checkout.root / ".venv").glob("lib/*/site-packages/pip")
    shutil.rmtree(pip)
    (checkout.root / ".venv" / "local.lock").unlink()
    assert checkout.run()[0] == 0
    assert checkout.runs(SETTLED)


@pytest.mark.full
def test_a_machine_that_no_envoy_is_built_for_gets_the_rest(checkout: Checkout) -> None:
    next((checkout.wheels).glob("proxy*")).unlink()
    code, said = checkout.run()
    assert (code, len(said)) == (0, 2)
    assert said[1].startswith(f"setup: no Envoy is built for this machine ({sys.platform}, {os.uname().machine})")
    assert checkout.run() == (0, []), "nobody asks again"


@pytest.mark.full
def test_an_envoy_of_the_users_own_saves_that_of_the_package(checkout: Checkout) -> None:
    assert checkout.run(ENVOY="/own/envoy")[0] == 0
    assert checkout.runs(SETTLED)
    assert not checkout.runs("import proxy")


@pytest.mark.full
def test_what_cannot_be_installed_ends_with_the_installers_last_word_and_its_log(checkout: Checkout) -> None:
    next((checkout.wheels).glob("tiny*")).unlink()
    code, said = checkout.run()
    assert (code, len(said)) == (2, 2)
    log = checkout.root / ".venv" / "setup.log"
    missing = "ERROR: No matching distribution found for tiny==1.0"
    assert said[1] == f"setup: {missing}; all of the installer's words: {log}"
    assert missing in log.read_text()


@pytest.mark.full
def test_a_package_with_another_hash_is_refused(checkout: Checkout) -> None:
    with zipfile.ZipFile(next((checkout.wheels).glob("tiny*")), "a") as archive:
        archive.writestr("more.py", "")
    code, said = checkout.run()
    assert code == 2
    assert "HASHES" in (checkout.root / ".venv" / "setup.log").read_text(), said


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


UNREACHABLE = [
    ({"PIP_INDEX_URL": "http://127.0.0.1:{}/simple"}, "the package index 127.0.0.1:{} (Connection refused)"),
    (
        {"PIP_INDEX_URL": "http://index.invalid/simple", "http_proxy": "http://name:word@127.0.0.1:{}"},
        "the proxy 127.0.0.1:{} (Connection refused)",
    ),
    ({"PIP_INDEX_URL": "http://index.invalid/simple"}, "the package index index.invalid:80 ("),
]


@pytest.mark.parametrize(("variables", "asked"), rows(UNREACHABLE, UNREACHABLE[:1]))
def test_without_a_network_it_says_soon_who_was_asked(
    checkout: Checkout, variables: dict[str, str], asked: str
) -> None:
    port = _closed_port()
    began = time.monotonic()
    code, said = checkout.run(PIP_NO_INDEX="", **{name: value.format(port) for name, value in variables.items()})
    assert time.monotonic() - began < 15
    assert (code, len(said)) == (2, 2)
    assert said[1].startswith(f"setup: nothing answers at {asked.format(port)}")
    assert said[1].endswith("PIP_INDEX_URL names another package index, HTTPS_PROXY a proxy")


def test_a_place_that_cannot_be_made_is_said_before_anything_is_done(checkout: Checkout) -> None:
    code, said = checkout.run(GRPC_TRACING_HOME="/proc/none")
    elsewhere = "GRPC_TRACING_HOME=/another/folder takes the environment and the mesh's files"
    assert (code, said) == (2, [f"setup: cannot make /proc/none: No such file or directory; {elsewhere}"])


def test_a_read_only_checkout_and_a_full_disk_are_said_with_the_figure_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(venv.SetupError, match=r"has \d+ MB free, and 99999999 MB are needed there; GRPC_TRACING_HOME="):
        venv.check_place(tmp_path / ".venv", 99_999_999)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(venv.SetupError, match=r"cannot write to .*, and 250 MB are needed there; GRPC_TRACING_HOME="):
        venv.check_place(tmp_path / ".venv", venv.SIZES["local"])


def test_a_terminal_sees_which_package_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    lines = ["Collecting grpcio==1.85.1 (from -r local.lock)\n", "  Using cached it\n", "Collecting rich==15.0.0\n"]
    assert list(venv._shown(lines, 2)) == lines
    assert terminal.getvalue().split("\r") == ["", "setup: grpcio, 1 of 2\x1b[K", "setup: rich, 2 of 2\x1b[K", "\x1b[K"]


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("ensurepip", "it lacks its module ensurepip (Debian: apt install python3-venv)"),
        (None, "there is no such program"),
    ],
)
def test_a_python_that_was_named_and_does_not_fit_is_an_error(checkout: Checkout, missing: str, why: str) -> None:
    named = checkout.tools / "mine"
    if missing:
        _python_without(missing, named)
    assert checkout.run(PYTHON=str(named)) == (2, [f"PYTHON={named} cannot be used: {why}"])


def test_a_python_that_was_named_and_is_too_old_is_an_error(checkout: Checkout) -> None:
    named = checkout.tools / "mine"
    code = "import sys; sys.version_info = (3, 10, 2); exec(sys.argv[1])"
    named.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$3"\n')
    named.chmod(0o755)
    why = "it is Python 3.10, and 3.11 or later is needed"
    assert checkout.run(PYTHON=str(named)) == (2, [f"PYTHON={named} cannot be used: {why}"])


def test_without_any_python_that_fits_it_says_what_to_install(checkout: Checkout) -> None:
    for name in PYTHONS:
        _python_without("ensurepip", checkout.tools / name)
    code, said = checkout.run(PYTHON="")
    assert (code, said[0][: len(ADVICE)]) == (2, ADVICE)
