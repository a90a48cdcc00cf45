"""The wheel: grpc_tracing and nothing else, and it works in an environment that has nothing of the checkout."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span
from grpc_tracing.version import VERSION
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends.answers import Backend
from tests.client.http_stub import http_stub
from tests.docs.excerpts import FIXES_FILE
from tests.store.support import Part, export_request
from tests.support.missing import missing
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)

USER = """
import grpc.aio

from grpc_tracing import propagation
from grpc_tracing.headers.families import Pair
from grpc_tracing.headers.forwarding import Propagation, onward
from grpc_tracing.headers.reading import read


def go_on(metadata: list[Pair]) -> tuple[Pair, ...]:
    return onward(Propagation().sort(metadata))


def server() -> grpc.aio.Server:
    return grpc.aio.server(interceptors=propagation.aio.server_interceptors())


def channel(target: str) -> grpc.aio.Channel:
    own = propagation.rule(also=("x-lane",))
    return grpc.aio.insecure_channel(target, interceptors=propagation.aio.client_interceptors(own))


ids: list[str] = [context.trace_id for context in read([("traceparent", "00-1-2-01")])]
"""


def run(
    *command: str | Path, cwd: Path | None = None, stdin: IO[str] | None = None
) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=outside,
        timeout=300,
        stdin=stdin,
    )


def done(*command: str | Path, cwd: Path | None = None) -> str:
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a tree without git's folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "grpc_tracing", source / "grpc_tracing")
    done(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs by itself; the folder of its programs."""
    folder = tmp_path_factory.mktemp("bare")
    done(sys.executable, "-m", "venv", folder)
    done(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, "types-grpcio")
    return folder / "bin"


def test_it_holds_the_library_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"grpc_tracing", f"grpc_tracing-{VERSION}.dist-info"}
    assert {"grpc_tracing/py.typed", "grpc_tracing/store/static/style.css"} <= set(names)
    assert zipfile.ZipFile(wheel).read("grpc_tracing/store/fixes.json") == FIXES_FILE.read_bytes()
    assert any(name.startswith("grpc_tracing/store/templates/") for name in names)


@pytest.mark.full
@pytest.mark.parametrize("command", [("grpc-tracing",), ("python", "-m", "grpc_tracing")], ids=" ".join)
def test_it_tells_its_version(bare: Path, command: tuple[str, ...], tmp_path: Path) -> None:
    assert done(bare / command[0], *command[1:], "--version", cwd=tmp_path) == f"grpc-tracing {VERSION}\n"
    assert "No broken requirements" in done(bare / "python", "-m", "pip", "check")


PLUGIN = "from importlib.metadata import entry_points as e; print([one.value for one in e(group='pytest11')])"


@pytest.mark.full
def test_pytest_finds_its_plugin(bare: Path, tmp_path: Path) -> None:
    assert "'grpc_tracing.testing.plugin'" in done(bare / "python", "-c", PLUGIN, cwd=tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(("command", "extra"), [("store", "store"), ("check", "probe"), ("watch", "watch")])
def test_a_part_that_is_not_installed_names_its_extra(bare: Path, tmp_path: Path, command: str, extra: str) -> None:
    ended = run(bare / "grpc-tracing", command, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert f"pip install 'grpc-tracing[{extra}]'" in ended.stderr


@pytest.mark.full
def test_its_types_hold_for_who_uses_it(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    checked = done(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", bare / "python", "user.py", cwd=tmp_path
    )
    assert "Success" in checked


SERVICE = ROOT / "tests" / "propagation" / "three_lines.py"


@pytest.mark.full
def test_mypy_passes_a_service_with_interceptors(bare: Path, tmp_path: Path) -> None:
    shutil.copy(SERVICE, tmp_path)
    strict = ("-m", "mypy", "--strict", "--python-executable", bare / "python")
    assert "Success" in done(sys.executable, *strict, SERVICE.name, cwd=tmp_path)


@pytest.mark.long
def test_pyright_passes_a_service_with_interceptors(bare: Path, tmp_path: Path) -> None:
    shutil.copy(SERVICE, tmp_path)
    installed = run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "pyright@1.1.414", cwd=tmp_path)
    if installed.returncode:
        missing(f"npm cannot get pyright: {installed.stderr[-300:]}")
    checked = done(tmp_path / "node_modules/.bin/pyright", "--pythonpath", bare / "python", SERVICE.name, cwd=tmp_path)
    assert "0 errors" in checked


@contextmanager
def store(programs: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """The store of the wheel on free ports: where its pages are, and where it takes spans."""
    pages, otlp_grpc, otlp_http = (f"127.0.0.1:{port}" for port in free_ports(3))
    command = [programs / "grpc-tracing", "store", "--http", pages, "--otlp-grpc", otlp_grpc, "--otlp-http", otlp_http]
    process = subprocess.Popen([str(word) for word in command], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or _answers(f"http://{pages}/healthz"), "the store answers")
        yield f"http://{pages}", f"http://{otlp_http}"
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def with_audit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its extra `audit` alone; the folder of its programs."""
    folder = tmp_path_factory.mktemp("audit")
    done(sys.executable, "-m", "venv", folder)
    done(folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[audit]")
    return folder / "bin"


def cut_spans() -> list[Span]:
    return a_minute_ago(Traffic(cuts=True, seconds=10).spans())


@pytest.mark.full
def test_with_its_extra_the_audit_reads_a_file_a_folder_and_standard_input(with_audit: Path, tmp_path: Path) -> None:
    spans = tmp_path / "kept" / "spans.jsonl"
    spans.parent.mkdir()
    spans.write_text("".join(f"{line(span)}\n" for span in cut_spans()))
    audit = (with_audit / "grpc-tracing", "audit", "--traces")
    told = [run(*audit, where, cwd=tmp_path) for where in (spans, spans.parent)]
    with spans.open() as stream:
        told.append(run(*audit, "-", cwd=tmp_path, stdin=stream))
    assert {(ended.returncode, *ended.stdout.split()[:2]) for ended in told} == {(1, "cuts", "cart")}, told
    assert len({ended.stdout for ended in told}) == 1


@pytest.mark.full
@pytest.mark.parametrize("api", ["jaeger1", "tempo"])
async def test_with_its_extra_a_backend_is_fetched_and_judged_in_every_form(
    api: str, with_audit: Path, tmp_path: Path
) -> None:
    kept, junit, page = tmp_path / "kept.jsonl", tmp_path / "audit.xml", tmp_path / "audit.html"
    program = with_audit / "grpc-tracing"
    backend = Backend(cut_spans())
    async with http_stub(getattr(backend, api)) as url:
        read = await asyncio.to_thread(run, program, "fetch", "--traces", url, "-o", kept, cwd=tmp_path)
        live = await asyncio.to_thread(run, program, "audit", "--traces", url, "--json", cwd=tmp_path)
    assert read.returncode == 0, read.stderr
    forms = ("--json", "--junit", junit, "--report", page)
    ended = run(program, "audit", "--traces", kept, *forms, cwd=tmp_path)
    assert (ended.returncode, json.loads(ended.stdout)) == (1, json.loads(live.stdout))
    assert json.loads(ended.stdout)["services"][0]["verdict"] == "cuts"
    assert "cart" in junit.read_text()
    assert "cart" in page.read_text()


@pytest.mark.full
def test_with_its_extra_the_store_takes_spans_and_shows_them(wheel: Path, bare: Path, tmp_path: Path) -> None:
    done(bare / "python", "-m", "pip", "install", "--quiet", f"{wheel}[store]")
    with store(bare, tmp_path) as (pages, otlp):
        trace = "0af7651916cd43dd8448eb211c80319c"
        sent = export_request(trace, [Part("svc1", 2, "1" * 16)]).SerializeToString()
        kind = {"content-type": "application/x-protobuf"}
        assert httpx.post(f"{otlp}/v1/traces", content=sent, headers=kind, trust_env=False).status_code == 200
        kept = wait_for(
            lambda: httpx.get(f"{pages}/api/v3/traces/{trace}", trust_env=False).json(), "the trace is kept"
        )
        assert "svc1" in str(kept)
        assert "svc1" in httpx.get(f"{pages}/trace/{trace}", trust_env=False).text
