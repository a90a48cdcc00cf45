"""The requester's own root spans: checked, sent, and bounded in time where nobody takes them."""

import asyncio
import socket
import threading
import time

import pytest

from client.call.exporting import Roots
from tests.client.evidence import outcome
from tests.client.http_stub import http_stub
from tests.store.support import attributes_of, running_store


async def test_a_root_span_reaches_the_store() -> None:
    with running_store() as store:
        roots = Roots(f"http://{store.otlp_http}", "127.0.0.1:9999")
        assert await roots.answers()
        span = roots.begin("Talk")
        context = Roots.context_of(span)
        Roots.end(span, outcome(status="UNAVAILABLE", sent=(("x-request-id", "an-id"),)), 14)
        assert await roots.export()
        (found,) = store.spans(context.trace_id)
    assert (found["service"], found["name"], found["kind"]) == ("requester", "Talk", 3)
    assert (found["spanId"], found.get("parentSpanId", "")) == (context.span_id, "")
    assert attributes_of(found) | {"talk.rpc": "Talk", "talk.request_id": "an-id"} == attributes_of(found)
    assert found["status"]["code"] == 2


@pytest.mark.parametrize("status", [404, 405, 500])
async def test_an_endpoint_that_takes_no_spans_does_not_count(status: int) -> None:
    async with http_stub(lambda _: (status, b"")) as url:
        assert not await Roots(url, "target").answers()


async def test_an_endpoint_that_never_answers_costs_two_seconds_and_no_more() -> None:
    began = time.monotonic()
    async with http_stub(lambda _: None) as url:
        assert not await Roots(url, "target").answers()
    assert time.monotonic() - began < 6, "without our limit the SDK takes 7 s"


async def test_a_dead_endpoint_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert not await Roots(f"http://127.0.0.1:{held.getsockname()[1]}", "target").answers()


def test_a_name_server_that_never_answers_costs_two_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait())
    began = time.monotonic()
    assert not asyncio.run(Roots("http://collector.example:4318", "target").answers())
    assert time.monotonic() - began < 20, "also where the loop ends"


async def test_a_proxy_in_the_environment_is_not_asked_for_a_local_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with http_stub(lambda _: (200, b"")) as url:
        assert await Roots(url, "target").answers()


async def test_the_path_is_added_once() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b""

    async with http_stub(answer) as url:
        assert await Roots(url, "target").answers()
        assert await Roots(f"{url}/v1/traces", "target").answers()
    assert asked == ["/v1/traces"] * 2
