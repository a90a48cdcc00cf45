"""Reading a window: split until its traces fit, each trace once, and what could not be read is said."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from grpc_tracing.backends import jaeger, windows
from grpc_tracing.backends.apis import APIS, SECOND, Window
from grpc_tracing.backends.jaeger import Source, StoreUnreadable
from grpc_tracing.backends.windows import Reading, choose, read
from grpc_tracing.spans.model import Span
from tests.audit.traffic import BEGIN, MS
from tests.backends.answers import Backend
from tests.client.http_stub import Answer, http_stub
from tests.support.cells import cells
from tests.support.spans import make

HOUR = 3600 * SECOND
WINDOW = Window(BEGIN, BEGIN + HOUR)


def traces(*starts: int) -> list[Span]:
    return [make(f"{n + 1:032x}", "1" * 16, "", "shop", "Buy", "server", at, at + MS) for n, at in enumerate(starts)]


async def taken(url: str, api: str, reading: Reading) -> list[str]:
    """The trace ids, as often as they came."""
    return [span.trace_id async for spans in read(Source.at(url), APIS[api], WINDOW, reading) for span in spans]


def evenly(count: int) -> list[int]:
    return [BEGIN + HOUR * n // count for n in range(count)]


def in_a_burst(count: int) -> list[int]:
    """Nearly all within twenty seconds, at the end of the hour."""
    gaps, length = random.Random(5), 20 * SECOND  # noqa: S311
    return [BEGIN, *(BEGIN + HOUR - length + gaps.randrange(length) for _ in range(count - 1))]


@pytest.mark.parametrize("api", cells(["jaeger", "jaeger1", "tempo"], ["jaeger"]))
@pytest.mark.parametrize("starts", [evenly, in_a_burst], ids=["evenly", "in a burst"])
async def test_more_traces_than_a_search_gives_come_once_each(api: str, starts: Callable[[int], list[int]]) -> None:
    count = 1200
    backend, reading = Backend(traces(*starts(count))), Reading()
    answer = {"jaeger": backend.jaeger2, "jaeger1": backend.jaeger1, "tempo": backend.tempo}[api]
    async with http_stub(answer) as url:
        came = await taken(url, api, reading)
    assert (len(came), len(set(came)), reading.missing) == (count, count, [])


async def test_more_traces_in_the_shortest_window_than_a_search_gives_are_missing() -> None:
    backend, reading = Backend(traces(*[BEGIN + MS] * 1001)), Reading()
    async with http_stub(backend.jaeger1) as url:
        came = await taken(url, "jaeger1", reading)
    assert len(came) == 1000
    assert reading.missing == ["shop: more than 1000 traces in 10 ms: the rest is not read"]


def padded(body: bytes) -> bytes:
    return body + b" " * 200_000


async def test_a_window_whose_answer_is_too_large_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaeger, "LARGEST", 100_000)
    backend, reading = Backend(traces(*evenly(100))), Reading()

    def answer(path: str) -> Answer:
        status, body = backend.jaeger2(path)
        return status, padded(body) if body.count(b'"traceId"') > 30 else body

    async with http_stub(answer) as url:
        came = await taken(url, "jaeger", reading)
    assert (len(came), len(set(came)), reading.missing) == (100, 100, [])


async def test_a_backend_all_of_whose_answers_are_too_large_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaeger, "LARGEST", 100_000)
    reading, asked = Reading(), Counter[str]()

    def answer(path: str) -> Answer:
        asked[path.partition("?")[0]] += 1
        return (200, b'{"services": ["shop"]}') if "services" in path else (200, padded(b"{"))

    async with http_stub(answer) as url:
        assert not await taken(url, "jaeger", reading)
    assert asked["/api/v3/traces"] < 200
    assert all(
        one.endswith("the backend answered more than 0 MiB: ask for less with --last") for one in reading.missing
    )
    assert reading.missing


async def test_a_trace_that_is_too_large_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaeger, "LARGEST", 100_000)
    backend, reading = Backend(traces(BEGIN)), Reading()

    def answer(path: str) -> Answer:
        status, body = backend.tempo(path)
        return status, padded(body) if path.startswith("/api/traces/") else body

    async with http_stub(answer) as url:
        assert not await taken(url, "tempo", reading)
    assert reading.missing == [f"trace {1:032x}: the backend answered more than 0 MiB"]


async def test_a_backend_that_does_not_answer_is_told_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_ANSWER", 0.2)
    async with http_stub(lambda _: None) as url:
        with pytest.raises(StoreUnreadable, match=r"does not answer within 0\.2s: ask for less with --last"):
            await choose(Source.at(url), "auto")


async def test_a_backend_that_stops_to_answer_leaves_out_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_ANSWER", 0.5)
    backend, reading = Backend(traces(*evenly(1500))), Reading()
    searches: list[str] = []

    def answer(path: str) -> Answer:
        searches.append(path)
        return backend.jaeger1(path) if len(searches) < 6 else None

    async with http_stub(answer) as url:
        with pytest.raises(StoreUnreadable, match=r"within 0\.5s.*; nothing was read of shop 2023-11-1.* and after it"):
            await taken(url, "jaeger1", reading)
    assert 0 < reading.spans < 1500


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_of_a_window_leave_nothing_out(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    starts = [chance.randrange(WINDOW.start, WINDOW.end) for _ in range(chance.randrange(1, 50))]
    parts = windows._split(WINDOW, starts, SECOND)
    assert (parts[0].start, parts[-1].end) == WINDOW
    assert 2 <= len(parts) <= 64
    assert all(before.end == after.start for before, after in pairwise(parts))
