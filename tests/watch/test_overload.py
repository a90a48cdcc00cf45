"""More requests than the watch has time for: it takes each one or counts that it did not, and says so in time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from grpc_tracing.spans.model import Span
from tests.audit.traffic import BEGIN, MS
from tests.store.support import EXPORT
from tests.support.spans import make
from tests.support.waiting import wait_until
from tests.watch.support import Scrape, Watch, request_of, running_watch

CODE = grpc.StatusCode
SPANS = 8_000
"""Of a request: half a second's work."""


@pytest.fixture(scope="module")
def body() -> bytes:
    return request_of(map(_span, range(1, SPANS + 1))).SerializeToString()


def _span(number: int) -> Span:
    at = time.time_ns() - BEGIN % MS
    peer = {"peer.service": "stock"}
    return make(f"{number:032x}", f"{number:016x}", "", "cart", "Get", "client", at, at + MS, False, **peer)


@contextmanager
def loaded(folder: Path) -> Iterator[Watch]:
    """A watch that judges nothing meanwhile."""
    with running_watch(folder, "--listen", "127.0.0.1:0", "--settle", "30s", listens=False) as watch:
        yield watch


def flood(watch: Watch, body: bytes, calls: int, within: float) -> Counter[grpc.StatusCode]:
    """So many calls at once, each with this deadline in seconds; what they end with."""
    with grpc.insecure_channel(watch.address("OTLP over gRPC on "), [("grpc.enable_http_proxy", 0)]) as channel:
        grpc.channel_ready_future(channel).result(60)
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        under_way: list[Any] = [call.future(body, timeout=within) for _ in range(calls)]
        return Counter(one.code() for one in under_way)


def taken(scrape: Scrape) -> float:
    """Requests."""
    return scrape.value("watch_spans_total") / SPANS


def refused(scrape: Scrape, reason: str) -> float:
    return scrape.value("watch_requests_refused_total", protocol="otlp_grpc", reason=reason)


@pytest.mark.full
def test_each_request_is_taken_or_counted_as_given_up(body: bytes, tmp_path: Path) -> None:
    calls = 24
    with loaded(tmp_path) as watch:
        ended = flood(watch, body, calls, within=4)
        assert ended[CODE.OK]
        assert ended.total() == ended[CODE.OK] + ended[CODE.DEADLINE_EXCEEDED]
        found = watch.until(lambda one: taken(one) + refused(one, "gone") == calls, "each is counted")
        assert taken(found) >= ended[CODE.OK]


@pytest.mark.long
def test_no_request_ends_before_its_sender_s_deadline(body: bytes, tmp_path: Path) -> None:
    """gRPC ends those that nobody accepts for 30 seconds, and tells nobody."""
    calls = 150
    with loaded(tmp_path) as watch:
        assert flood(watch, body, calls, within=600) == {CODE.OK: calls}
        assert taken(watch.scrape()) == calls


@pytest.mark.full
async def test_more_calls_than_may_wait_are_told_to_try_again(body: bytes, tmp_path: Path) -> None:
    """Calls that never send their request wait; those beyond the bound are answered at once, and the rest leaves."""
    waiting, more = 500, 40
    with loaded(tmp_path) as watch:
        async with grpc.aio.insecure_channel(
            watch.address("OTLP over gRPC on "), [("grpc.enable_http_proxy", 0)]
        ) as to:
            call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = to.stream_unary(EXPORT)
            open_calls = [call() for _ in range(waiting + more)]
            await wait_until(lambda: _ended(open_calls, more), "those that are too many are answered")
            codes = Counter([await one.code() for one in open_calls if one.done()])
            assert codes == {CODE.UNAVAILABLE: more}
            for one in open_calls:
                one.cancel()
            await call(iter([body]), timeout=120)
            found = watch.until(lambda one: refused(one, "gone") == waiting, "those that left are counted")
            assert (refused(found, "busy"), taken(found)) == (more, 1)


async def _ended(calls: list[Any], most: int) -> bool:
    return len([one for one in calls if one.done()]) >= most
