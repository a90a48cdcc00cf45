"""check.sh: what it runs, what it refuses before it begins, and where its report goes."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT

NOTE = """#!/bin/sh
case "$*" in *--version* | "-I -S -c "*) exit 0 ;; esac
echo "$(basename "$0") $*" >>"$(dirname "$0")/calls"
"""


@dataclass(frozen=True)
class Checkout:
    """check.sh with tools that only write down how they are called: the suite cannot run inside itself."""

    root: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        elsewhere = self.root / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        return subprocess.run(
            [self.root / "check.sh", *words], cwd=elsewhere, capture_output=True, text=True, check=False
        )

    @property
    def calls(self) -> list[str]:
        file = self.root / ".venv" / "bin" / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    shutil.copy(ROOT / "check.sh", tmp_path)
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("dev", "envoy"):  # as scripts/venv.sh leaves them
        shutil.copy(ROOT / "requirements" / f"{name}.lock", tmp_path / ".venv")
    for tool in ("python", "ruff", "mypy", "shellcheck"):
        (programs / tool).write_text(NOTE)
        (programs / tool).chmod(0o755)
    return Checkout(tmp_path)


def test_lint_and_types_come_before_the_tests(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in checkout.calls] == ["ruff", "ruff", "shellcheck", "mypy", "python"]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ((), ("--dist loadgroup", "--hypothesis-profile default", "chaos and not cluster and not long and not full")),
        (("--quick",), ("-m unit",)),
        (("--full",), ("--hypothesis-profile default", "-m not soak and not chaos and not cluster and not long")),
        (("--rest",), ("--dist loadgroup", "-m not soak and not chaos and not cluster and not long and full")),
        (("--long",), ("--hypothesis-profile long", "-m not soak and not chaos and not cluster")),
        (("--cluster",), ("-m cluster", "--timeout 3600")),
        (("soak",), ("-m soak", "--timeout 3600")),
        (("tests/talk", "--quick", "-k", "tls"), ("-m unit", " tests/talk -k tls")),
        (("-m", "long"), ("and not full -m long",)),
        (("--junit", "/r.xml"), ("--junit-xml /r.xml",)),
        (("--junit=r.xml",), ("--junit-xml {root}/elsewhere/r.xml",)),
    ],
    ids=" ".join,
)
def test_pytest_gets_what_the_words_stand_for(
    checkout: Checkout, words: tuple[str, ...], given: tuple[str, ...]
) -> None:
    done = checkout.run(*words)
    assert done.returncode == 0, done.stderr
    assert all(part.format(root=checkout.root) in checkout.calls[-1] for part in given), checkout.calls[-1]


def test_the_rest_has_no_lint_and_no_types_for_the_default_had_them(checkout: Checkout) -> None:
    done = checkout.run("--rest")
    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in checkout.calls] == ["python"]


def test_its_help_names_every_option_and_begins_nothing(checkout: Checkout) -> None:
    done = checkout.run("--help")
    assert (done.returncode, done.stderr, checkout.calls) == (0, "", [])
    options = ("--quick", "--full", "--rest", "--long", "--cluster", "--junit FILE", "soak", "chaos")
    assert all(option in done.stdout for option in options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--quik",), "unrecognized arguments: --quik"),
        (("tests/talk", "-k"), "argument -k: expected one argument"),
        (("--quick", "--long"), "--quick and --long exclude each other"),
        (("--long", "--full"), "--long and --full exclude each other"),
        (("--junit",), "--junit needs a file"),
    ],
    ids=str,
)
def test_what_it_does_not_know_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([ROOT / "check.sh", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"check: {said}; ./check.sh --help shows what there is\n"


@pytest.mark.full
def test_tests_that_share_a_fixture_stay_on_one_worker() -> None:
    """Scattered, each worker would start meshes and processes of its own."""
    options = [
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "-v",
        "-p",
        "no:cacheprovider",
        "-k",
        "each_pattern",
        "tests/probe/test_calls.py",
    ]
    done = subprocess.run([sys.executable, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workers = re.findall(r"^\[(gw\d)\].* PASSED", done.stdout, re.MULTILINE)
    assert len(workers) == 4
    assert len(set(workers)) == 1
