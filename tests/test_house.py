"""The house's own rules: who imports whom, what is generated, what stands nowhere."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

MAY_IMPORT: dict[str, set[str]] = {
    "grpc_tracing": set(),
    "chain": set(),
    "protos": set(),
    "talk": {"grpc_tracing", "protos", "chain"},
    "svc1": {"talk"},
    "svc2": {"talk"},
    "svc3": {"talk"},
    "client": {"grpc_tracing", "protos", "chain"},
    "mesh": {"grpc_tracing", "chain"},
    "deploy": {"grpc_tracing", "chain", "mesh"},
}
"""`mesh` and `deploy` start services and requester as processes; they read durations and the version by the library."""
OURS = set(MAY_IMPORT)

LAYERS: dict[str, set[str]] = {
    "headers": set(),
    "calling": {"headers"},
    "propagation": {"headers", "calling"},
    "testing": {"headers", "calling"},
    "spans": {"headers"},
    "evidence": {"headers", "spans"},
    "backends": {"headers", "spans"},
    "audit": {"headers", "spans"},
    "probe": {"headers", "calling", "spans", "backends", "audit"},
    "engines": {"headers", "spans", "audit"},
    "commands": {"headers", "calling", "spans", "backends", "audit", "engines", "probe", "store"},
    "store": {"headers", "calling", "spans", "evidence", "backends", "audit"},
    "watch": {"headers", "spans", "backends", "audit", "commands", "store"},
}
"""Inside the library. `arguments`, `printable`, `values` and `version` are for all; `cli` only names its commands."""
PURE = ("headers", "spans", "evidence", "audit")
"""No I/O: neither sockets nor files nor clocks."""
IMPURE = {"asyncio", "grpc", "httpx", "os", "pathlib", "socket", "subprocess", "threading", "time"}


def imported(package: str) -> Iterator[tuple[Path, str]]:
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module.partition(".")[0]


def parts(package: str) -> Iterator[tuple[Path, str]]:
    """The library's own parts that a part of it imports."""
    for file in sorted((ROOT / "grpc_tracing" / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("grpc_tracing"):
                names = [node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names]
                yield from ((file, name) for name in names)


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_a_part_of_the_library_imports_only_what_lies_below_it(package: str) -> None:
    allowed = LAYERS[package] | {package, "arguments", "printable", "values", "version"}
    assert [(str(file.relative_to(ROOT)), name) for file, name in parts(package) if name not in allowed] == []


def test_every_part_of_the_library_has_its_layer() -> None:
    folders = {path.parent.name for path in (ROOT / "grpc_tracing").glob("*/__init__.py")}
    assert folders == set(LAYERS)


@pytest.mark.parametrize("package", PURE)
def test_a_pure_part_does_no_input_or_output(package: str) -> None:
    assert [(str(file), name) for file, name in imported(f"grpc_tracing/{package}") if name in IMPURE] == []


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [(str(file.relative_to(ROOT)), name) for file, name in imported(package) if name in OURS - allowed]
    assert wrong == []


def test_the_service_needs_nothing_of_the_other_installs() -> None:
    light = {
        "grpc",
        "grpc_channelz",
        "grpc_health",
        "grpc_reflection",
        "google",
        "yaml",
        "protos",
        "talk",
        "chain",
        "grpc_tracing",
    }
    standard = set(sys.stdlib_module_names)
    found = [one for package in ("talk", "svc1", "svc2", "svc3") for one in imported(package)]
    names = {name for file, name in found if file != ROOT / "talk" / "telemetry.py"}  # TALK_OTEL's own
    assert names - standard <= light | {"__future__"}


def test_a_service_loads_only_headers_and_calling_of_the_library() -> None:
    """So does the one in the image, which holds no more of it: what svc1 starts is `talk`."""
    code = "import svc1, talk.server, sys; print(*(name for name in sys.modules if name.startswith('grpc_tracing.')))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name.split(".")[1] for name in loaded.split()} <= {"calling", "headers", "values", "version"}


def test_the_python_of_the_protos_is_what_scripts_gen_makes(tmp_path: Path) -> None:
    (tmp_path / "protos").mkdir()
    python = str(ROOT / ".venv" / "bin" / "python")
    subprocess.run([ROOT / "scripts" / "gen", tmp_path], check=True, env={"PATH": "/usr/bin:/bin", "PYTHON": python})
    made = {file.name: file.read_text() for file in (tmp_path / "protos").iterdir()}
    assert made == {name: (ROOT / "protos" / name).read_text() for name in made}
    assert made.keys() == {file.name for file in (ROOT / "protos").glob("*_pb2*")}


NOT_OURS = {
    ".cache",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "node_modules",
}
"""Folders that the project's own commands make."""


def files_of_the_tree() -> list[Path]:
    """What git knows of; without git, or in a source archive, all files that are there."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True).stdout
    except FileNotFoundError:
        listed = ""
    return [ROOT / name for name in listed.split("\0") if name] or list(_files_there())


def _files_there() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        yield from (Path(folder, name) for name in names)


def test_no_private_key_and_no_registry_host_stands_in_the_tree() -> None:
    markers = ["BEGIN " + "PRIVATE KEY", "BEGIN EC " + "PRIVATE KEY", "pypi" + ".org", "registry.npmjs" + ".org"]
    wrong = [
        (str(file.relative_to(ROOT)), marker)
        for file in files_of_the_tree()
        if file.is_file() and file.suffix not in (".png", ".ico")
        for marker in markers
        if marker in file.read_text(errors="replace")
    ]
    assert wrong == []


HEADERS, LIMITS = "grpc_tracing/headers/families.py", "grpc_tracing/calling/limits.py"
TOPOLOGY, VALUES = "chain/topology.py", "grpc_tracing/values.py"
ONE_HOME: dict[str, tuple[str, str]] = {
    "the default header list": (
        r'"x-ot-span-context"|"sw8-correlation"|"x-datadog-(origin|tags)"|"x-asm-prefer-tag"',
        HEADERS,
    ),
    "4 MiB, the longest message": (r"\b4 ?\* ?(1024 ?\* ?1024|1024 ?\*\* ?2)\b|\b4 ?<< ?20\b|\b4_?194_?304\b", LIMITS),
    "16 KiB, the largest metadata": (r"\b16 ?\* ?1024\b(?! ?\*)|\b16 ?<< ?10\b|\b16_?384\b", LIMITS),
    "the name of a service's host": (r"grpc-server-", TOPOLOGY),
    "a duration's pattern": (r"\bms\|s\||\bms\)|\[(sm|ms|smh|hms)\]", VALUES),
}
"""Fact: a pattern of every way to write it, and the one file that does."""


@pytest.mark.parametrize("fact", ONE_HOME)
def test_a_fact_stands_in_one_file(fact: str) -> None:
    pattern, home = ONE_HOME[fact]
    packages = ("grpc_tracing", "talk", "client", "chain", "mesh", "deploy")
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    assert [str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text())] == [home]
