"""Reading traces back: as soon as they are complete, no longer than allowed, and in words where it cannot be."""

import asyncio
import json
import socket
import time
from collections.abc import Sequence

import pytest

from grpc_tracing.backends.jaeger import Found, Source, StoreUnreadable, Wanted, is_local, leave_notes, read_traces
from tests.client.http_stub import http_stub

TRACE = "a" * 32


def answer_with(count: int) -> tuple[int, bytes]:
    """A trace of so many spans; 404 for none."""
    spans = [{"traceId": TRACE, "spanId": f"{number:016x}"} for number in range(count)]
    document = {"result": {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}}
    return (200, json.dumps(document).encode()) if count else (404, b'{"error": {"httpCode": 404}}')


def at_least(count: int, quiet: float = 0.0, trace: str = TRACE) -> Wanted:
    def complete(found: Sequence[Found]) -> bool:
        return sum(len(one.spans) for one in found) >= count

    return Wanted((trace,), complete, quiet)


async def test_it_polls_until_the_trace_is_complete() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return answer_with(len(asked) - 1)

    wanted = at_least(3)
    async with http_stub(answer) as url:
        await read_traces(Source(url), [wanted])
    assert asked == [f"/api/v3/traces/{TRACE}"] * 4
    assert len(wanted.spans) == 3


async def test_all_traces_are_polled_together_and_the_complete_ones_no_more() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path[-1])
        return answer_with(1 if path.endswith("b") else asked.count("a") - 1)

    async with http_stub(answer) as url:
        await read_traces(Source(url), [at_least(2), at_least(1, trace="b" * 32)])
    assert (asked.count("a"), asked.count("b")) == (3, 1)


async def test_it_gives_up_at_the_limit_and_keeps_what_came() -> None:
    wanted = at_least(9)
    began = time.monotonic()
    async with http_stub(lambda _: answer_with(2)) as url:
        await read_traces(Source(url), [wanted], limit=1.5)
    assert len(wanted.spans) == 2
    assert time.monotonic() - began < 10


async def test_many_traces_of_a_slow_store_share_the_limit() -> None:
    wanted = [at_least(9, trace=f"{number:032x}") for number in range(40)]

    def answer(path: str) -> tuple[int, bytes] | None:
        return answer_with(2) if path.endswith("00") else None

    began = time.monotonic()
    async with http_stub(answer) as url:
        with pytest.raises(StoreUnreadable, match=r"has answered for 1 of 40 traces within 1\.5s"):
            await read_traces(Source(url), wanted, limit=1.5)
    assert time.monotonic() - began < 10
    assert len(wanted[0].spans) == 2, "what came is kept"


async def test_a_proxy_that_cannot_be_used_as_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(StoreUnreadable, match=r"http://jaeger\.example:16686 cannot be asked"):
        await read_traces(Source("http://jaeger.example:16686"), [at_least(1)])


async def test_it_waits_until_nothing_has_come_for_a_while() -> None:
    began = time.monotonic()
    async with http_stub(lambda _: answer_with(1)) as url:
        await read_traces(Source(url), [at_least(1, quiet=0.3)])
    assert 0.3 <= time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "does not answer as Jaeger's v3 API does"),
        (200, b"{}", "does not answer as Jaeger's v3 API does"),
        (200, b"[]", "does not answer as Jaeger's v3 API does"),
        (200, b'{"result": {"resourceSpans": [1]}}', "does not answer as Jaeger's v3 API does"),
        (404, b"404 page not found", "a path prefix missing from the URL"),
        (404, b"<html>", r"another backend's API \(--traces-api\)"),
        (500, b"", "answers 500"),
        (401, b"", r"wants credentials \(401\): give --traces-header"),
        (403, b"", r"wants credentials \(403\): give --traces-header"),
    ],
)
async def test_an_answer_that_is_no_trace_is_told(status: int, body: bytes, words: str) -> None:
    async with http_stub(lambda _: (status, body)) as url:
        with pytest.raises(StoreUnreadable, match=words):
            await read_traces(Source(url), [at_least(1)])


async def test_a_store_that_never_answers_is_told_soon() -> None:
    began = time.monotonic()
    async with http_stub(lambda _: None) as url:
        with pytest.raises(StoreUnreadable, match="does not answer within 2s"):
            await read_traces(Source(url), [at_least(1)])
    assert time.monotonic() - began < 6


async def test_nothing_that_answers_is_told_at_once() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(StoreUnreadable, match=r"nothing answers at http://127\.0\.0\.1"):
            await read_traces(Source(f"http://127.0.0.1:{held.getsockname()[1]}"), [at_least(1)])


@pytest.mark.parametrize("status", [202, 404, 405, 500])
async def test_notes_are_left_and_a_store_that_takes_none_is_no_failure(status: int) -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return status, b""

    async with http_stub(answer) as url:
        await leave_notes(Source(url), [{"rpc": "Talk"}] * 51)
    assert asked == ["/api/calls"] * (2 if status == 202 else 1)


async def test_notes_to_nobody_are_no_failure() -> None:
    async with asyncio.timeout(20):
        await leave_notes(Source("http://127.0.0.1:1"), [{"rpc": "Talk"}])


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:16686", True),
        ("http://[::1]:16686", True),
        ("http://localhost:16686", True),
        ("http://jaeger.example:16686", False),
        ("http://10.0.0.1:16686", False),
    ],
)
def test_a_url_is_on_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local


@pytest.mark.parametrize(
    ("url", "shown", "headers"),
    [
        ("http://host:1/prefix/", "http://host:1/prefix", ()),
        ("https://me:p%40ss@host/a@b", "https://host/a@b", (("Authorization", "Basic bWU6cEBzcw=="),)),
        ("http://me@[::1]:1", "http://[::1]:1", (("Authorization", "Basic bWU6"),)),
    ],
)
def test_user_and_password_of_a_url_go_into_a_header(
    url: str, shown: str, headers: tuple[tuple[str, str], ...]
) -> None:
    source = Source.at(url)
    assert (source.url, source.headers) == (shown, headers)
    assert "Basic" not in repr(source)
