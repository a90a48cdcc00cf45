"""The guide's notes on what stands around gRPC: a web server in front, HTTP clients behind, a queue between."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import httpx
import pytest
import uvicorn

from docs.examples.http_onward import httpx_async_client, httpx_client, requests_session
from docs.examples.queue_jobs import message, work
from docs.examples.web_front import app
from grpc_tracing.propagation import outgoing
from grpc_tracing.testing import Leaf
from tests.propagation.test_calls import sync_next, sync_server
from tests.support.missing import missing
from tests.support.processes import ROOT

SENT = (
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-request-id", "r"),
    ("baggage", "a=1"),
    ("baggage", "b=2"),
)


def known(pairs: Any) -> list[tuple[str, str]]:
    return sorted((key, value) for key, value in pairs if key in dict(SENT))


@contextmanager
def front(next_hop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of the web server in front of `next_hop`."""
    monkeypatch.setenv("TALK_NEXT_HOP", next_hop)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, factory=True, log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=20) as browser:
                yield browser
        finally:
            server.should_exit = True
            thread.join()


def test_a_web_request_goes_on_by_grpc(trace_leaf: Leaf, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(trace_leaf.target, monkeypatch) as browser:
        assert browser.get("/talk", headers=list(SENT)).is_success
        (came,) = trace_leaf.take(1, 10)
        assert browser.get("/talk").is_success
        (after,) = trace_leaf.take(1, 10)
    assert known(came) == sorted(SENT)
    assert known(after) == [], "nothing is left of the request before"


def test_a_web_request_that_fails_behind_leaves_nothing_either(
    trace_leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front(trace_leaf.target, monkeypatch) as browser:
        trace_leaf.fails = True
        # The server closes this connection, since the application raised; the next request must not meet that.
        assert browser.get("/talk", headers=[*SENT, ("connection", "close")]).status_code == 500
        trace_leaf.fails = False
        assert browser.get("/talk").is_success
        failed, after = trace_leaf.take(2, 10)
    assert (known(failed), known(after)) == (sorted(SENT), [])


@contextmanager
def web() -> Iterator[tuple[str, list[list[tuple[str, str]]]]]:
    """A web server's address, and the headers of each request to it."""
    came: list[list[tuple[str, str]]] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append([(key.lower(), value) for key, value in self.headers.items()])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()


def by_httpx(url: str) -> None:
    with httpx_client() as client:
        client.get(url)


def by_httpx_async(url: str) -> None:
    async def get() -> None:
        async with httpx_async_client() as client:
            await client.get(url)

    asyncio.run(get())


def by_requests(url: str) -> None:
    with requests_session() as session:
        session.trust_env = False
        session.get(url, timeout=10)


@pytest.mark.parametrize("get", [by_httpx, by_httpx_async, by_requests])
def test_a_grpc_call_goes_on_by_http(get: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web() as (url, came):

        def handle(request: bytes, _: object) -> bytes:
            get(url)
            return request

        with sync_server(handle) as go:
            go(b"x", metadata=SENT)
        get(url)
    inside, outside = came
    assert known(inside) == [("baggage", "a=1,b=2"), SENT[0], SENT[1]] == sorted(known(inside))
    assert known(outside) == []


def test_a_job_in_a_queue_is_done_with_the_headers_of_the_call_that_asked_for_it(trace_leaf: Leaf) -> None:
    jobs: Queue[str] = Queue()

    def handle(request: bytes, _: object) -> bytes:
        jobs.put(message("a job"))
        return request

    with sync_server(handle) as go:
        go(b"x", metadata=SENT)
    with sync_next(trace_leaf.target) as call:
        work(jobs.get(timeout=10), lambda body: call(body.encode()))
        (came,) = trace_leaf.take(1, 10)
    assert known(came) == sorted(SENT)
    assert outgoing() == ()


def test_httpx_itself_would_send_none_of_it() -> None:
    with web() as (url, came):

        def handle(request: bytes, _: object) -> bytes:
            httpx.get(url, trust_env=False)
            return request

        with sync_server(handle) as go:
            go(b"x", metadata=SENT)
    assert known(came[0]) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_job_of_celery_is_done_with_the_headers_of_the_call_that_began_it(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    commands: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", tmp_path],
        [python, "-m", "pip", "install", "--quiet", "celery", f"grpcio=={grpc.__version__}"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"Celery cannot be installed: {done.stderr[-300:]}")
    told = subprocess.run(
        [python, "-m", "docs.examples.celery_jobs"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    assert json.loads(told.stdout) == [["traceparent", "00-1-2-01"], ["baggage", "a=1"], ["baggage", "b=2"]]
