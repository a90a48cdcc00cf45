"""Files that more than one process parses."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import psutil
import pytest

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.backends import documents
from grpc_tracing.backends.documents import split
from grpc_tracing.commands import workers
from grpc_tracing.spans.formats.documents import line
from tests.audit.traffic import Traffic
from tests.support.processes import ROOT

SPANS = list(Traffic("cart", seconds=40).spans())
LINES = [line(span).encode() + b"\n" for span in SPANS]
ALL = [fact(span) for span in SPANS]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_BLOCK", 20_000)


def read(lines: bytes) -> Iterator[workers.Facts]:
    with workers.Parsers() as parsers:
        yield from parsers.facts_of(split(io.BytesIO(lines), "file"))


def facts(lines: bytes) -> list[Fact]:
    return [one for part in read(lines) for one in part.facts]


def test_the_facts_are_those_of_the_spans_in_their_order() -> None:
    assert len(LINES) * len(LINES[0]) > 12 * 20_000
    assert facts(b"".join(LINES)) == ALL
    assert multiprocessing.active_children() == []


def test_several_files_are_parsed_by_the_same_workers() -> None:
    lines, pids = b"".join(LINES), []
    with workers.Parsers() as parsers:
        for _ in range(2):
            assert [one for part in parsers.facts_of(split(io.BytesIO(lines), "file")) for one in part.facts] == ALL
            pids.append({child.pid for child in multiprocessing.active_children()})
    assert pids[0] == pids[1] != set()
    assert multiprocessing.active_children() == []


def test_what_stands_before_a_cut_line_is_kept_and_the_line_is_named() -> None:
    at = len(LINES) * 3 // 4
    parts = list(read(b"\n" + b"".join(LINES[:at]) + LINES[at][:-9]))
    assert [one for part in parts for one in part.facts] == ALL[:at]
    assert [part.wrong for part in parts if part.wrong] == [f"file, line {at + 2}: the JSON is cut off, or none"]


def test_a_worker_that_dies_loses_nothing() -> None:
    parts = read(b"".join(LINES))
    found = [one for part in islice(parts, 6) for one in part.facts]
    (worker,) = multiprocessing.active_children()[:1]
    worker.kill()
    assert found + [one for part in parts for one in part.facts] == ALL


def test_without_semaphores_this_process_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no semaphores here")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refuse)
    assert facts(b"".join(LINES)) == ALL


def test_one_core_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(workers, "ProcessPoolExecutor", None)
    assert facts(b"".join(LINES)) == ALL


def test_ctrl_c_ends_the_workers_too() -> None:
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", "-"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as audit:
        assert audit.stdin
        assert audit.stderr
        children: list[psutil.Process] = []
        while not children:
            audit.stdin.write(b"".join(LINES))
            audit.stdin.flush()
            children = psutil.Process(audit.pid).children(recursive=True)
        audit.send_signal(signal.SIGINT)
        audit.stdin.close()
        assert audit.wait(30) == 130
        assert psutil.wait_procs(children, 30)[1] == []
        assert b"Traceback" not in audit.stderr.read()
