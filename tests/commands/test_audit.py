"""`grpc-tracing audit` and `fetch` as people run them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from grpc_tracing.spans.formats.documents import line
from tests.audit.traffic import Traffic
from tests.client.http_stub import http_stub

CUT, WHOLE = Traffic(cuts=True, seconds=20), Traffic("shop", seconds=20)
SECRET = "s3cret-token"  # noqa: S105


def write(path: Path, *traffic: Traffic) -> Path:
    path.write_text("".join(f"{line(span)}\n" for one in traffic for span in one.spans()))
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grpc_tracing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_cutter_stands_first_in_every_output(tmp_path: Path) -> None:
    spans = write(tmp_path / "spans.jsonl", CUT, WHOLE)
    junit, page = tmp_path / "audit.xml", tmp_path / "audit.html"
    ended = run("audit", "--traces", spans, "--json", "--junit", junit, "--report", page)
    document = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, document["verdict"]) == (1, "", "cuts")
    assert [(one["service"], one["verdict"]) for one in document["services"]] == [("cart", "cuts"), ("shop", "whole")]
    cases = ElementTree.parse(junit).findall("testcase")  # noqa: S314 - just written
    assert [(case.get("name"), case.find("failure") is None) for case in cases] == [("cart", False), ("shop", True)]
    assert "://" not in page.read_text()
    assert "cart" in page.read_text()


def test_a_table_says_what_is_cut(tmp_path: Path) -> None:
    ended = run("audit", "--traces", write(tmp_path / "spans", CUT, WHOLE))
    assert ended.stdout.startswith("cuts   cart  in shop.Cart/Get, calls to stock: ")
    assert "1 of 2 services cut traces" in ended.stdout


def test_a_job_ends_with_3_until_the_sampling_is_stated(tmp_path: Path) -> None:
    spans = write(tmp_path / "spans", Traffic("feed", jobs=20))
    open_, told = run("audit", "--traces", spans), run("audit", "--traces", spans, "--sampling", "100%")
    assert open_.returncode == 3
    assert "say so with --sampling" in open_.stdout
    assert (told.returncode, told.stdout.startswith("job  feed  ")) == (0, True)


def test_a_whole_shop_ends_with_0_and_a_cut_file_with_3(tmp_path: Path) -> None:
    spans = write(tmp_path / "spans", WHOLE)
    assert run("audit", "--traces", spans).returncode == 0
    spans.write_text(spans.read_text()[:-40])
    ended = run("audit", "--traces", spans)
    assert (ended.returncode, "not read: " in ended.stdout, "cut off" in ended.stdout) == (3, True, True)


BAD: dict[str, tuple[str, str]] = {
    "an empty file": ("", "is empty: give a file of spans"),
    "a page": ("<html>", "is cut off, or none"),
    "another document": ('{"a": 1}\n', "this is not OTLP's JSON, Jaeger's, Tempo's, Zipkin's or ARMS'"),
    "no spans": ('{"resourceSpans": []}\n', "holds no spans"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_without_spans_is_one_line_and_2(what: str, tmp_path: Path) -> None:
    content, said = BAD[what]
    file = tmp_path / "file"
    file.write_text(content)
    ended = run("audit", "--traces", file)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--traces", "/none/such"), "there is no file"),
        (("--traces", "ftp://host"), "begins with http:// or https://"),
        (("--traces", "http://127.0.0.1:1", "--last", "x"), "is not a duration"),
        (("--traces", "http://127.0.0.1:1", "--traces-header", SECRET), "write it as 'Name: value'"),
        (("--traces", "http://127.0.0.1:1"), "nothing answers at"),
        (("--traces", "-", "--sampling", "10"), "write a share up to 1 such as 0.1, or a percentage such as 10%"),
        (("--traces", "-", "--sampling", "0%"), "is no sampling rate"),
        (("--traces", "-", "--sampling", "nan"), "is no sampling rate"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: tuple[str, ...], said: str) -> None:
    ended = run("audit", *arguments)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr
    assert SECRET not in ended.stderr


OTLP = [json.loads(line(span)) for span in WHOLE.spans()]
JAEGER = {
    "data": [
        {
            "spans": [
                {
                    "traceID": "a",
                    "spanID": "1",
                    "operationName": "Get",
                    "startTime": 1,
                    "duration": 9,
                    "processID": "p",
                    "tags": [{"key": "span.kind", "value": "server"}],
                },
                {
                    "traceID": "a",
                    "spanID": "2",
                    "operationName": "Get",
                    "startTime": 2,
                    "duration": 1,
                    "processID": "p",
                    "tags": [{"key": "span.kind", "value": "client"}],
                    "references": [{"refType": "CHILD_OF", "traceID": "a", "spanID": "1"}],
                },
            ],
            "processes": {"p": {"serviceName": "shop"}},
        }
    ]
}
ZIPKIN = [
    [
        {
            "traceId": "000000000000000a",
            "id": "0000000000000001",
            "kind": "SERVER",
            "timestamp": 1,
            "duration": 9,
            "localEndpoint": {"serviceName": "shop"},
        },
        {
            "traceId": "000000000000000a",
            "id": "0000000000000002",
            "parentId": "0000000000000001",
            "kind": "CLIENT",
            "timestamp": 2,
            "duration": 1,
            "localEndpoint": {"serviceName": "shop"},
        },
    ]
]
ANSWERS: dict[str, dict[str, object]] = {
    "jaeger": {"/api/v3/services": {"services": ["shop"]}, "/api/v3/traces": {"result": OTLP[0]}},
    "jaeger1": {"/api/services": {"data": ["shop"]}, "/api/traces": JAEGER},
    "zipkin": {"/api/v2/services": ["shop"], "/api/v2/traces": ZIPKIN},
}


async def audited(answers: dict[str, object], *more: str, status: int = 200) -> subprocess.CompletedProcess[str]:
    """By a backend that answers these paths, and 404 in HTML to all others."""

    def answer(path: str) -> tuple[int, bytes]:
        found = answers.get(path.partition("?")[0])
        return (404, b"<html>") if found is None else (status, json.dumps(found).encode())

    async with http_stub(answer) as url:
        return await asyncio.to_thread(run, "audit", "--traces", url, "--json", *more)


@pytest.mark.parametrize("api", ANSWERS)
async def test_each_backend_is_known_by_its_answers(api: str) -> None:
    ended = await audited(ANSWERS[api])
    assert [one["service"] for one in json.loads(ended.stdout)["services"]] == ["shop"]


async def test_a_backend_that_wants_credentials_names_the_option_and_no_token() -> None:
    ended = await audited(ANSWERS["jaeger"], "--traces-header", f"Authorization: Bearer {SECRET}", status=401)
    assert (ended.returncode, "give --traces-header" in ended.stderr) == (2, True)
    assert SECRET not in ended.stdout + ended.stderr


async def test_a_server_of_pages_is_no_backend() -> None:
    ended = await audited({})
    assert (ended.returncode, "answers as none of" in ended.stderr) == (2, True)


async def test_a_window_of_which_a_part_fails_says_what_is_missing() -> None:
    answers = {**ANSWERS["jaeger"], "/api/v3/services": {"services": ["gone", "shop"]}}

    def answer(path: str) -> tuple[int, bytes]:
        if "service_name=gone" in path:
            return 500, b"{}"
        if "/traces" in path and "service_name" not in path:
            return 400, b"{}"  # a backend that searches by service alone
        return 200, json.dumps(answers[path.partition("?")[0]]).encode()

    async with http_stub(answer) as url:
        ended = await asyncio.to_thread(run, "audit", "--traces", url, "--json")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["verdict"]) == (3, "unproven")
    assert "gone" in document["missing"][0]
    assert "500" in document["missing"][0]


def test_what_fetch_keeps_is_judged_as_what_it_read(tmp_path: Path) -> None:
    spans, kept = write(tmp_path / "spans", CUT), tmp_path / "kept.jsonl"
    assert run("fetch", "--traces", spans, "-o", kept).returncode == 0
    assert kept.read_text() == spans.read_text()
    assert run("audit", "--traces", kept).stdout == run("audit", "--traces", spans).stdout


def test_fetch_follows_no_link_and_leaves_what_was_there_where_nothing_is_read(tmp_path: Path) -> None:
    spans, others, kept = write(tmp_path / "spans", CUT), tmp_path / "others", tmp_path / "kept.jsonl"
    others.write_text("another's")
    kept.symlink_to(others)
    assert run("fetch", "--traces", tmp_path / "none", "-o", kept).returncode == 2
    (tmp_path / "empty").touch()
    assert run("fetch", "--traces", tmp_path / "empty", "-o", kept).returncode == 2
    assert kept.is_symlink()
    assert run("fetch", "--traces", spans, "-o", kept).returncode == 0
    assert (kept.is_symlink(), others.read_text()) == (False, "another's")
    assert kept.read_text() == spans.read_text()
