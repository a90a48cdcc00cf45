"""The house's own rules: who imports whom, what is generated, what stands nowhere."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

OURS = {"protos", "talk", "svc1", "svc2", "svc3", "client", "mesh", "deploy", "traces"}

MAY_IMPORT: dict[str, set[str]] = {
    "protos": set(),
    "talk": {"protos"},
    "svc1": {"talk"},
    "svc2": {"talk"},
    "svc3": {"talk"},
    "client": {"protos", "traces"},
    "mesh": set(),
    "deploy": {"mesh"},
    "traces": set(),
}
"""`client` takes the report's views from `traces`; `deploy` takes topology and Envoy configuration from `mesh`."""


def imported(package: str) -> Iterator[tuple[Path, str]]:
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module.partition(".")[0]


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [(str(file.relative_to(ROOT)), name) for file, name in imported(package) if name in OURS - allowed]
    assert wrong == []


def test_the_service_needs_nothing_of_the_other_installs() -> None:
    light = {"grpc", "grpc_channelz", "grpc_health", "grpc_reflection", "google", "yaml", "protos", "talk"}
    standard = set(sys.stdlib_module_names)
    names = {name for package in ("talk", "svc1", "svc2", "svc3") for _, name in imported(package)}
    assert names - standard <= light | {"__future__"}


def test_the_python_of_the_protos_is_what_scripts_gen_makes(tmp_path: Path) -> None:
    (tmp_path / "protos").mkdir()
    python = str(ROOT / ".venv" / "bin" / "python")
    subprocess.run([ROOT / "scripts" / "gen", tmp_path], check=True, env={"PATH": "/usr/bin:/bin", "PYTHON": python})
    made = {file.name: file.read_text() for file in (tmp_path / "protos").iterdir()}
    assert made == {name: (ROOT / "protos" / name).read_text() for name in made}
    assert made.keys() == {file.name for file in (ROOT / "protos").glob("*_pb2*")}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def test_no_private_key_and_no_registry_host_stands_in_the_tree() -> None:
    markers = ["BEGIN " + "PRIVATE KEY", "BEGIN EC " + "PRIVATE KEY", "pypi" + ".org", "registry.npmjs" + ".org"]
    wrong = [
        (str(file.relative_to(ROOT)), marker)
        for file in tracked()
        if file.is_file() and file.suffix not in (".png", ".ico")
        for marker in markers
        if marker in file.read_text(errors="replace")
    ]
    assert wrong == []
