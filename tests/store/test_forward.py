"""Spans passed on: all of them, to whom and with what they should go, and what happens where nobody takes them."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from grpc_tracing.spans.formats.otlp import Chunk
from grpc_tracing.store import forward
from grpc_tracing.store.forward import Forwarder
from grpc_tracing.store.options import parse
from grpc_tracing.store.senders import Goal, NotNowError, TurnedAwayError
from tests.client.certificates import Files, issue
from tests.store.calls import talk_parts
from tests.store.pages import send
from tests.store.support import Store, running_store
from tests.support.cells import cells, rows
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

SECRET = "s3cret-token"  # noqa: S105
SPANS = 7
"""Of a call."""


def passed_on(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = store.health()["forward"]
    return found


def until(store: Store, **wanted: object) -> None:
    wait_for(lambda: wanted.items() <= passed_on(store).items(), f"{wanted} of {passed_on(store)}")


@pytest.mark.parametrize("protocol", cells(["http", "grpc"], ["grpc"]))
def test_every_span_comes_to_the_other_store_too(protocol: str) -> None:
    with running_store() as other:
        url = f"{protocol}://{other.otlp_grpc if protocol == 'grpc' else other.otlp_http}"
        with running_store("--forward", url) as store:
            sent = [send(store, talk_parts()) for _ in range(20)]
            until(store, sent=20 * SPANS, waiting=0, dropped={}, failing="")
            assert other.trace_ids() == set(sent) == store.trace_ids()
            assert [span["spanId"] for span in other.spans(sent[0])] == [
                span["spanId"] for span in store.spans(sent[0])
            ]
            assert f"passed on: {20 * SPANS} spans" in " ".join(store.get("/traces").text.split())


@pytest.mark.full
def test_what_is_waiting_goes_on_at_the_end() -> None:
    with running_store() as other:
        with running_store("--forward", f"http://{other.otlp_http}") as store:
            trace_id = send(store, talk_parts())
        assert other.trace_ids() == {trace_id}


class Other(ThreadingHTTPServer):
    """A server that answers as it is told, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, answer: tuple[int, Mapping[str, str], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Other

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        code, headers, body = self.server.answer
        self.send_response(code)
        for key, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
        pass


@contextmanager
def other(
    code: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"", tls: Files | None = None
) -> Iterator[Other]:
    with Other((code, headers or {}, body)) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


REFUSALS: tuple[tuple[str, int, dict[str, str], bytes, str], ...] = (
    ("no credentials", 401, {}, b"", "wants credentials (401): give --forward-header 'Authorization: Bearer …'"),
    (
        "another path",
        404,
        {},
        b"not found",
        "answers 404: does it take OTLP over HTTP, and is a path",
    ),
    ("a page", 200, {"content-type": "text/html"}, b"<html>", "answers with a page: does it take OTLP over HTTP"),
    ("moved", 307, {"location": "http://u:p@elsewhere:1/x?token=t"}, b"", "redirects to http://elsewhere:1/x: give"),
    ("malformed", 400, {}, "bad \u202e\x1b[31m".encode(), "answers 400: bad \\u202e\\x1b[31m"),
)


@pytest.mark.parametrize(("name", "code", "headers", "body", "said"), rows(REFUSALS, REFUSALS[:1]))
def test_who_refuses_is_said_in_a_line_and_the_spans_are_counted(
    name: str, code: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    log: list[str] = []
    with other(code, headers, body) as server, running_store("--forward", f"http://{server.address}", log=log) as store:
        trace_id = send(store, talk_parts())
        until(store, sent=0, waiting=0, dropped={"refused": SPANS})
        assert said in passed_on(store)["failing"]
        assert store.trace_ids() == {trace_id}, "the store itself has it"
        page = " ".join(store.get("/traces").text.split())
        assert f"{SPANS} spans dropped" in page
        assert server.asked[0][0] == "/v1/traces"
    (line,) = log
    assert json.loads(line)["event"] == "passing on: failing"


@pytest.mark.parametrize("how", cells(["option", "file", "environment", "url"], ["environment"]))
def test_credentials_go_with_the_spans_and_are_never_shown(how: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"Authorization: Bearer {SECRET}\n")
    log: list[str] = []
    with other(401) as server:
        url = f"http://{'' if how != 'url' else f'user:{SECRET}@'}{server.address}"
        given = {
            "option": ["--forward-header", f"Authorization: Bearer {SECRET}"],
            "file": ["--forward-header", f"@{tmp_path / 'token'}"],
        }
        settings = (
            {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET},x-tenant=a"}
            if how == "environment"
            else {}
        )
        with running_store("--forward", url, *given.get(how, []), log=log, **settings) as store:
            send(store, talk_parts())
            until(store, dropped={"refused": SPANS})
            shown = json.dumps(store.health()) + store.get("/traces").text
        _, headers = server.asked[0]
        wanted = f"Bearer {SECRET}" if how != "url" else "Basic "
        assert headers["authorization"].startswith(wanted)
        assert how != "environment" or headers["x-tenant"] == "a"
    assert SECRET not in shown + "".join(log)


@pytest.mark.full
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_who_is_away_gets_the_spans_when_it_is_back_and_nobody_waits_for_it(protocol: str) -> None:
    (port,) = free_ports(1)
    log: list[str] = []
    option = "--otlp-grpc" if protocol == "grpc" else "--otlp-http"
    with running_store("--forward", f"{protocol}://127.0.0.1:{port}", log=log) as store:
        began = time.monotonic()
        sent = [send(store, talk_parts()) for _ in range(50)]
        assert time.monotonic() - began < 20, "taken as without"
        wait_for(lambda: passed_on(store)["failing"], "it is noticed")
        assert passed_on(store)["waiting"] == 50 * SPANS
        with running_store(option, f"127.0.0.1:{port}") as back:
            until(store, sent=50 * SPANS, waiting=0, dropped={}, failing="")
            assert back.trace_ids() == set(sent)
    assert [json.loads(line)["event"] for line in log] == ["passing on: failing", "passing on: goes through again"]


@pytest.mark.full
def test_what_cannot_go_before_the_end_is_counted_and_the_end_is_not_late() -> None:
    (port,) = free_ports(1)
    log: list[str] = []
    with running_store("--forward", f"http://127.0.0.1:{port}", log=log) as store:
        send(store, talk_parts())
        wait_for(lambda: passed_on(store)["failing"], "it is noticed")
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert json.loads(log[-1]) | {"dropped": {"ended": SPANS}, "waiting": 0} == json.loads(log[-1])


@pytest.mark.full
def test_a_busy_server_is_asked_again_after_the_time_that_it_names() -> None:
    log: list[str] = []
    with (
        other(503, {"retry-after": "1"}) as server,
        running_store("--forward", f"http://{server.address}", log=log) as store,
    ):
        send(store, talk_parts())
        wait_for(lambda: len(server.asked) > 1, "asked again")
        server.answer = (200, {}, b"")
        until(store, sent=SPANS, dropped={}, failing="")


@pytest.mark.full
def test_a_private_ca_is_trusted_where_it_is_given_and_named_where_not(tmp_path: Path) -> None:
    files = issue(tmp_path, "collector")
    log: list[str] = []
    with other(tls=files) as server:
        url = f"https://{server.address}"
        with running_store("--forward", url, "--forward-ca", files.ca) as store:
            send(store, talk_parts())
            until(store, sent=SPANS, failing="")
        with running_store("--forward", url, log=log) as store:
            send(store, talk_parts())
            wait_for(lambda: "give --forward-ca FILE" in passed_on(store)["failing"], "the option is named")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--forward", "collector:4317"], "write http://HOST:PORT, https://…, grpc://HOST:PORT or grpcs://…"),
        (["--forward", "grpc://collector"], "write grpc://HOST:PORT, and no path"),
        (["--forward", "http://"], "is no URL: it names no host"),
        (["--forward", "http://a:99999"], "is no URL: "),
        (["--forward", f"ftp://u:{SECRET}@a"], "'ftp://a': write http://HOST:PORT"),
        (["--forward", "https://a", "--forward-ca", "/nowhere"], "the CA file /nowhere cannot be used: no such file"),
        (["--forward", "http://a", "--forward-ca", __file__], "a CA is for https:// and grpcs://"),
        (["--forward", "https://a", "--forward-ca", __file__], "cannot be used"),
        (["--forward", "http://a", "--forward-header", SECRET], "write it as 'Name: value'"),
        (["--forward", "http://a", "--forward-header", "@/nowhere"], "the file behind @ cannot be read"),
        (["--forward-header", "A: b"], "--forward-header and --forward-ca are for --forward URL"),
        (["--forward", "http://localhost:4318"], "http://localhost:4318 is this store itself"),
        (["--forward", "grpc://127.0.0.1:4317"], "is this store itself"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(options)
    told = capsys.readouterr().err
    assert (ended.value.code, said.lower() in told.lower(), told.count("\n"), SECRET in told) == (2, True, 1, False), (
        told
    )


def test_a_variable_that_is_wrong_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", SECRET)
    with pytest.raises(SystemExit):
        parse(["--forward", "http://a"])
    told = capsys.readouterr().err
    assert "OTEL_EXPORTER_OTLP_HEADERS is not written as key=value,key=value" in told
    assert SECRET not in told


class Fake:
    """A sender whose answers a test writes."""

    def __init__(self, answers: Callable[[int], int]) -> None:
        self._answers = answers
        self.bodies = 0

    async def send(self, _: bytes) -> int:
        self.bodies += 1
        await asyncio.sleep(0)
        return self._answers(self.bodies)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def passing_on(monkeypatch: pytest.MonkeyPatch, answers: Callable[[int], int]) -> AsyncIterator[Forwarder]:
    monkeypatch.setattr(forward, "sender", lambda _: Fake(answers))
    one = Forwarder(Goal("http://a", grpc=False, tls=False, headers=(), ca=None))
    async with one.running():
        yield one


def chunks(number: int, size: int = 1000) -> list[Chunk]:
    return [Chunk(f"{at:032x}", 1, b"x" * size) for at in range(number)]


async def test_no_span_is_lost_without_being_counted_and_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(_: int) -> int:
        raise NotNowError("away")

    async with passing_on(monkeypatch, never) as one:
        for _ in range(50):
            one.offer(chunks(1000))
            await asyncio.sleep(0)
        held = one.waiting
        assert held * 1000 <= forward.WAITING + forward._BATCH
        assert one.dropped["full"] + held == 50_000
    assert one.dropped["full"] + one.dropped["ended"] == 50_000
    assert one.waiting == 0
    assert "ended" in capsys.readouterr().err


async def test_rejected_and_refused_spans_are_counted_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(number: int) -> int:
        if number == 1:
            raise TurnedAwayError("no")
        return 3

    async with passing_on(monkeypatch, answer) as one:
        one.offer(chunks(10))
        await asyncio.wait_for(one._done.wait(), 20)
        one.offer(chunks(10))
        await asyncio.wait_for(one._done.wait(), 20)
    assert (one.sent, dict(one.dropped)) == (7, {"refused": 10, "rejected": 3})
    capsys.readouterr()
