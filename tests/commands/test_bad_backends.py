"""Backends that answer wrongly, late or not at all: a line that says what helps, the right code, and never a secret."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends.answers import Backend
from tests.client.http_stub import Answer, http_stub

TOKEN, PASSWORD = "t0ken-of-mine", "pa55word"
SECRETS = (TOKEN, PASSWORD, base64.b64encode(f"me:{PASSWORD}".encode()).decode())
MIB = 1024**2


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    everything: str
    """What was printed, and the files that were written."""


def audit(folder: Path, url: str, *more: str) -> Ended:
    """With a token in a header, or a password in the URL, where it has one."""
    junit, page = folder / "audit.xml", folder / "audit.html"
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", url, "--json"]
    command += ["--junit", str(junit), "--report", str(page), *more]
    if "@" not in url:
        command += ["--traces-header", f"Authorization: Bearer {TOKEN}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    files = "".join(file.read_text() for file in (junit, page) if file.exists())
    return Ended(ended.returncode, ended.stdout, ended.stderr, ended.stdout + ended.stderr + files)


def json_answer(document: object) -> Answer:
    return 200, json.dumps(document).encode()


def spans(name: str, *, cuts: bool = False) -> list[Span]:
    return a_minute_ago(Traffic(name, f"{name}-1", cuts=cuts, seconds=20).spans())


def services_and(search: Answer) -> Callable[[str], Answer]:
    def answer(path: str) -> Answer:
        return json_answer({"services": ["shop"]}) if path.startswith("/api/v3/services") else search

    return answer


NOTHING: Mapping[str, tuple[Callable[[str], Answer], str]] = {
    "HTML for all": (
        lambda _: (200, b"<html>"),
        "answers as none of Jaeger's v3 API, Jaeger's first API, Zipkin, Tempo",
    ),
    "HTML for a search": (services_and((200, b"<html>")), "answered no spans in JSON: try another --traces-api"),
    "HTML and 404 for a search": (services_and((404, b"<html>")), "the backend answered 404: try another --traces-api"),
    "401": (lambda _: (401, b"{}"), "wants credentials (401): give --traces-header"),
    "403 for a search": (services_and((403, b"")), "wants credentials (403): give --traces-header"),
    "500 for all": (services_and((500, b"oops")), "answered 500: ask again later, or for less with --last"),
    "a window without spans": (
        services_and((200, b'{"result": {}}')),
        "no spans in this window: ask for more with --last",
    ),
    "never": (lambda _: None, "was not read to the end within 1s: give more --wait"),
    "half an object": (services_and((200, b'{"result": {"resourceSpans": [')), "no spans in JSON"),
}


@pytest.mark.parametrize("what", NOTHING)
async def test_a_backend_of_which_nothing_can_be_read_is_a_line_and_2(what: str, tmp_path: Path) -> None:
    answer, said = NOTHING[what]
    async with http_stub(answer) as url:
        ended = await asyncio.to_thread(audit, tmp_path, url, "--wait", "1s" if what == "never" else "60s")
    *before, last = ended.err.splitlines()
    assert (ended.code, ended.out) == (2, "")
    assert said in last
    assert all(one.startswith("reading ") for one in before)
    assert not any(secret in ended.everything for secret in SECRETS)


async def test_a_redirect_is_followed_by_nobody_and_named_without_its_query(tmp_path: Path) -> None:
    asked: list[str] = []

    def elsewhere(path: str) -> Answer:
        asked.append(path)
        return json_answer({"services": []})

    async with http_stub(elsewhere) as other:
        goal = {"location": f"{other}/login?session=of-mine"}
        async with http_stub(lambda _: (302, b"", goal)) as url:
            ended = await asyncio.to_thread(audit, tmp_path, url)
    assert (ended.code, asked) == (2, [])
    assert f"redirects to {other}/login: give that URL to --traces" in ended.err
    assert not any(secret in ended.everything for secret in (*SECRETS, "of-mine"))


PARTS = ("s1", "s2", "s3", "s4")


def by_service(fails: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """Of four services; a search for the even ones ends as told."""
    backend = Backend([span for name in PARTS for span in spans(name)])

    def answer(path: str) -> Answer:
        if "service=s2" in path or "service=s4" in path:
            return fails(path)
        return backend.jaeger1(path)

    return answer


@pytest.mark.full
async def test_500_for_half_of_the_pages_is_unproven_and_names_them(tmp_path: Path) -> None:
    async with http_stub(by_service(lambda _: (500, b""))) as url:
        ended = await asyncio.to_thread(audit, tmp_path, url, "--last", "10m")
    document = json.loads(ended.out)
    assert (ended.code, document["verdict"]) == (3, "unproven")
    assert [one["service"] for one in document["services"]] == ["s1", "s3"]
    assert [one.partition(" ")[0] for one in document["missing"]] == ["s2", "s4"]
    assert all("the backend answered 500" in one for one in document["missing"])
    assert not any(secret in ended.everything for secret in SECRETS)


@pytest.mark.full
async def test_what_came_in_time_is_judged_and_the_rest_is_missing(tmp_path: Path) -> None:
    async with http_stub(by_service(lambda _: None)) as url:
        ended = await asyncio.to_thread(audit, tmp_path, url, "--last", "10m", "--wait", "3s")
    document = json.loads(ended.out)
    assert (ended.code, document["verdict"]) == (3, "unproven")
    assert [one["service"] for one in document["services"]] == ["s1"]
    assert "not read to the end within 3s" in document["missing"][0]


async def test_a_trace_that_tempo_tells_of_and_does_not_give_is_missing(tmp_path: Path) -> None:
    whole = Backend(spans("s1"))
    gone = next(iter(whole.traces))

    def answer(path: str) -> Answer:
        return (404, b"") if path.endswith(gone) else whole.tempo(path)

    async with http_stub(answer) as url:
        ended = await asyncio.to_thread(audit, tmp_path, url, "--last", "10m")
    document = json.loads(ended.out)
    assert (ended.code, document["missing"]) == (3, [f"trace {gone}: the backend answered 404 and no spans"])


async def test_user_and_password_in_the_url_are_never_shown(tmp_path: Path) -> None:
    backend = Backend(spans("s1", cuts=True))
    async with http_stub(backend.jaeger1) as url:
        ended = await asyncio.to_thread(audit, tmp_path, url.replace("//", f"//me:{PASSWORD}@"), "--last", "10m")
    assert ended.code == 1
    assert f"reading Jaeger's first API at {url}\n" in ended.err
    assert not any(secret in ended.everything for secret in SECRETS)


def test_nobody_at_a_url_with_a_password_shows_none(tmp_path: Path) -> None:
    ended = audit(tmp_path, f"http://me:{PASSWORD}@127.0.0.1:1")
    assert (ended.code, "nothing answers at http://127.0.0.1:1" in ended.err) == (2, True)
    assert not any(secret in ended.everything for secret in SECRETS)


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Runs a command and tells its highest RSS; of a process that a large one starts, the kernel tells the large one's."""


def test_a_gibibyte_in_one_line_is_a_line_and_2_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "one-line.json"
    with file.open("wb") as sparse:
        sparse.truncate(1024 * MIB)
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", str(file)]
    ended = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended
    assert "has a line of more than 128 MiB: write one object a line" in ended.stderr
    assert int(ended.stdout) < 400 * 1024, "KiB"


def test_what_stands_before_a_line_that_is_too_long_is_judged(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text("".join(f"{line(span)}\n" for span in spans("s1")))
    with file.open("r+b") as sparse:
        sparse.truncate(1024 * MIB)
    ended = audit_file(file)
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["verdict"]) == (3, "unproven")
    assert "has a line of more than 128 MiB" in document["missing"][0]


def audit_file(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", str(file), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
