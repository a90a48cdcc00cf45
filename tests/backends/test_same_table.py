"""The same spans give the same table, whichever backend they went through."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends import answers, recording, servers
from tests.backends.answers import Answer, Backend
from tests.backends.sending import export, parts
from tests.client.http_stub import http_stub
from tests.store.support import running_store
from tests.support.cells import cells
from tests.support.waiting import wait_for

MICRO = 1000
SECONDS = 25


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    """Of a minute ago: a service that cuts, one that does not, a job; more traces than one search gives."""
    traffic = [
        Traffic("cart", "cart-1", rpc="shop.cart/get", cuts=True, seconds=SECONDS),  # Zipkin writes all names small
        Traffic("shop", "shop-1", rpc="shop.shop/buy", seconds=SECONDS),
        Traffic("mailer", "mailer-1", rpc="mail", rate=0, jobs=2, job_target="smtp", seconds=SECONDS),
    ]
    made = [_in_microseconds(span) for one in traffic for span in a_minute_ago(one.spans())]
    assert len({span.trace_id for span in made}) > 1000
    random.Random(3).shuffle(made)  # noqa: S311
    return made


def _in_microseconds(span: Span) -> Span:
    """Whole ones, which all backends keep."""
    start = span.start_ns // MICRO * MICRO
    return replace(span, start_ns=start, end_ns=start + span.duration_ns // MICRO * MICRO)


def audit(where: str | Path, *more: str) -> str:
    """The table."""
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", str(where), *more]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def written(folder: Path, documents: Sequence[object]) -> Path:
    file = folder / "spans"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in documents))
    return file


@pytest.fixture(scope="module")
def table(spans: list[Span], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a file of OTLP's JSON gives."""
    found = audit(written(tmp_path_factory.mktemp("otlp"), [json.loads(line(span)) for span in spans]))
    words = {row.split()[1]: row.split()[0] for row in found.splitlines()[:3]}
    assert words == {"cart": "cuts", "shop": "whole", "mailer": "job"}
    return found


def soon(table: str, where: str | Path, *more: str) -> None:
    """Some show a span a moment after they took it."""

    def once_all_are_there() -> str:
        found = audit(where, *more)
        return found if table.splitlines()[-1] in found else ""

    assert wait_for(once_all_are_there, "all spans") == table


@pytest.mark.full
@pytest.mark.parametrize("api", ["jaeger", "jaeger1"])
def test_our_store_by_both_of_its_apis(spans: list[Span], table: str, api: str) -> None:
    with running_store("--max-traces", "20000") as store:
        export(f"http://{store.otlp_http}/v1/traces", spans)
        assert audit(f"http://{store.http}", "--last", "10m", "--traces-api", api) == table


@pytest.mark.full
def test_jaeger_2_by_both_of_its_apis(spans: list[Span], table: str, tmp_path: Path) -> None:
    with servers.jaeger(tmp_path) as (url, otlp_url):
        export(otlp_url, spans)
        soon(table, url, "--last", "10m")
        soon(table, url, "--last", "10m", "--traces-api", "jaeger1")


@pytest.mark.full
def test_jaeger_1(spans: list[Span], table: str, tmp_path: Path) -> None:
    with servers.jaeger1(tmp_path) as (url, otlp_url):
        export(otlp_url, spans)
        soon(table, url, "--last", "10m", "--traces-api", "jaeger1")


@pytest.mark.full
def test_zipkins_server(spans: list[Span], table: str, tmp_path: Path) -> None:
    with servers.zipkin(tmp_path) as url:
        for part in parts(spans):
            sent = httpx.post(f"{url}/api/v2/spans", json=[answers.zipkin(span) for span in part], trust_env=False)
            assert sent.status_code == 202, sent.text
        soon(table, url, "--last", "10m")


@pytest.mark.full
def test_the_collectors_file_exporter(spans: list[Span], table: str, tmp_path: Path) -> None:
    with servers.collector(tmp_path) as (file, url):
        export(url, spans)
        wait_for(lambda: file.stat().st_size, "the file grows")
        soon(table, file)


STUBS: Mapping[str, Callable[[Backend], Callable[[str], Answer]]] = {
    "Jaeger 2": lambda backend: backend.jaeger2,
    "Jaeger's first API": lambda backend: backend.jaeger1,
    "Tempo": lambda backend: backend.tempo,
}


@pytest.mark.parametrize("what", cells(STUBS, list(STUBS)[:1]))
async def test_answers_in_the_documented_shapes(what: str, spans: list[Span], table: str) -> None:
    async with http_stub(STUBS[what](Backend(spans))) as url:
        assert await asyncio.to_thread(audit, url, "--last", "10m") == table


async def test_recorded_answers_of_jaeger_1(tmp_path: Path) -> None:
    """What the real one answered, without it; `python -m tests.backends.record` records them again."""
    held = recording.read(tmp_path)
    expected = await asyncio.to_thread(audit, held.spans)
    assert {row.split()[1]: row.split()[0] for row in expected.splitlines()[:2]} == {"cart": "cuts", "shop": "whole"}
    async with http_stub(held.answer) as url:
        assert await asyncio.to_thread(audit, url, "--last", "10m", "--traces-api", "jaeger1") == expected


FILES: Mapping[str, Callable[[Sequence[Span]], object]] = {
    "Jaeger's UI": lambda spans: {"data": [answers.jaeger_trace(spans)]},
    "Zipkin": lambda spans: [answers.zipkin(span) for span in spans],
    "Tempo": answers.tempo_trace,
    "Managed Service for OpenTelemetry": answers.managed_service,
}


@pytest.mark.parametrize("what", FILES)
def test_files_of_answers(what: str, spans: list[Span], table: str, tmp_path: Path) -> None:
    traces = Backend(spans).traces.values()
    assert audit(written(tmp_path, [FILES[what](trace) for trace in traces])) == table


def test_a_file_of_arms_answers_which_tell_milliseconds(spans: list[Span], table: str, tmp_path: Path) -> None:
    """The words and the counts: what follows what is told in coarser steps."""
    found = audit(written(tmp_path, [answers.arms(trace) for trace in Backend(spans).traces.values()]))
    assert [row.split()[:2] for row in found.splitlines()] == [row.split()[:2] for row in table.splitlines()]
    assert found.splitlines()[-1] == table.splitlines()[-1]
