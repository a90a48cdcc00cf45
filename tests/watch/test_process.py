"""The watch as people run it: spans in, a scrape out, what ends it, what it says when nobody answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from grpc_tracing.spans.model import Span
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends.answers import Backend
from tests.store.support import EXPORT
from tests.support.ports import free_ports
from tests.support.spans import make
from tests.support.waiting import wait_for
from tests.watch.support import PROTOBUF, request_of, running_watch, shifted

SOON = ("--window", "20s", "--step", "1s", "--settle", "200ms")
CUTS = Traffic("cart", cuts=True, seconds=30)
LONG = 240.0
"""Seconds within which a busy machine gets through some steps."""


def test_it_says_not_ready_while_it_starts_and_then_what_came(tmp_path: Path) -> None:
    """Spans by HTTP; the counters are what was sent, and SIGTERM ends it well."""
    spans = a_minute_ago(CUTS.spans())
    with running_watch(tmp_path, *SOON) as watch:
        assert watch.get("/readyz").status_code == 503
        assert "nothing is judged yet" in watch.get("/readyz").text
        first = watch.scrape()
        assert (first.value("watch_ready"), first.word("cart")) == (0, "")
        assert watch.get("/healthz").json()["status"] == "starting"
        watch.export(spans)
        found = watch.until(lambda one: one.word("cart") == "cuts", "the cutter is named")
        out = [one for one in spans if one.kind.value == "client"]
        assert found.value("calls_out_total", service="cart") == len(out)
        assert found.value("cut_calls_total", service="cart", route="shop.Cart/Get", where="") == len(out)
        assert found.value("cut_share", service="cart") == 1
        assert (found.value("watch_spans_total"), found.total("watch_spans_dropped_total")) == (len(spans), 0)
        assert found.value("watch_ready") == 1
        assert abs(found.value("watch_last_success_timestamp_seconds") - time.time()) < 60
        assert watch.get("/readyz").text == "ready\n"
        assert watch.get("/healthz").json()["verdict"] == "cuts"
    assert " cuts         cart  in shop.Cart/Get, calls to stock: " in watch.lines.read_text()
    assert "the window is empty" in watch.told
    assert watch.told.endswith("ends\n")


@pytest.mark.full
def test_it_takes_spans_over_grpc_and_counts_what_it_refuses(tmp_path: Path) -> None:
    with running_watch(tmp_path, *SOON, "--listen", "127.0.0.1:0") as watch:
        with grpc.insecure_channel(watch.address("OTLP over gRPC on "), [("grpc.enable_http_proxy", 0)]) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            call(request_of(a_minute_ago(CUTS.spans())).SerializeToString(), timeout=30)
            with pytest.raises(grpc.RpcError) as refused:
                call(b"no protobuf", timeout=30)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        found = watch.until(lambda one: one.word("cart") == "cuts", "the cutter is named")
        assert found.value("watch_requests_refused_total", protocol="otlp_grpc", reason="unreadable") == 1
        assert found.value("watch_bytes_total") > 10_000


@pytest.mark.full
def test_hostile_names_become_labels_that_prometheus_reads(tmp_path: Path) -> None:
    hostile = ("nul\x00nul", "bidi\u202ebidi", "x" * 1_000_000, 'quote"back\\slash\nline')
    spans = [
        make(
            f"{n:032x}",
            f"{n:016x}",
            "",
            name,
            name,
            "client",
            10**9 * n,
            10**9 * n + 5,
            False,
            **{"peer.service": name},
        )
        for n, name in enumerate(hostile, 1)
    ]
    with running_watch(tmp_path, *SOON) as watch:
        watch.export(spans)
        found = watch.until(lambda one: one.total("calls_out_total") == len(spans), "they are counted")
        names = [dict(labels).get("service", "") for _, labels in found.series]
        assert len(watch.get("/metrics").content) < 100_000
    assert all(name.isprintable() and len(name) <= 200 for name in names)
    assert any("\\x00" in name for name in names)
    assert any("\\u202e" in name for name in names)


@pytest.mark.parametrize("option", ["--metrics", "--listen", "--listen-http"])
def test_a_taken_port_is_one_line_that_names_the_option(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        where = {"--metrics": "127.0.0.1:0", "--listen": "127.0.0.1:0", option: address}
        command = [sys.executable, "-m", "grpc_tracing", "watch", *(word for pair in where.items() for word in pair)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        f"grpc-tracing watch: cannot listen on {address}: address already in use; {option} HOST:PORT chooses another"
    ]


@contextmanager
def answering(port: int, handler: type[BaseHTTPRequestHandler]) -> Iterator[None]:
    """An HTTP server that is there while the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def backend_at(port: int, answer: Callable[[str], tuple[int, bytes]]) -> Iterator[None]:
    """A backend that is there while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - http.server's name

    with answering(port, Handler):
        yield


def recent(traffic: Traffic) -> list[Span]:
    """That ended just now."""
    return list(shifted(a_minute_ago(traffic.spans()), int((60 - traffic.seconds) * 1e9)))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_backend_that_is_not_there_yet_goes_away_and_comes_back(tmp_path: Path) -> None:
    """It goes on by itself, says for how long it was blind, and reads what it missed, each trace once."""
    (port,) = free_ports(1)
    options = ("--traces", f"http://127.0.0.1:{port}", "--window", "5m", "--step", "15s", "--settle", "500ms")
    with running_watch(tmp_path, *options, listens=False) as watch:
        wait_for(lambda: "blind: nothing answers at" in watch.told, "it says that nobody is there")
        assert watch.get("/readyz").status_code == 503
        watch.until(lambda one: one.value("watch_blind_seconds") > 1, "it counts for how long")
        spans = recent(Traffic("cart", cuts=True, seconds=10))
        with backend_at(port, Backend(spans).jaeger1):
            every = float(len(spans))
            watch.until(lambda one: one.value("watch_spans_total") == every, "it reads all", LONG)
            found = watch.until(lambda one: one.word("cart") == "cuts", "it judges", LONG)
            assert found.value("watch_blind_seconds") == 0
        watch.until(lambda one: one.value("watch_blind_seconds") > 2, "it is blind again", LONG)
        counted = watch.scrape().value("calls_out_total", service="cart")
        later = recent(Traffic("cart", "cart-2", cuts=True, seconds=2, seed=7))
        with backend_at(port, Backend([*spans, *later]).jaeger1):
            every += len(later)
            watch.until(lambda one: one.value("watch_spans_total") == every, "it catches up", LONG)
            found = watch.until(lambda one: one.value("watch_blind_seconds") == 0, "and sees", LONG)
            assert found.value("calls_out_total", service="cart") == counted + len(later) / 2
            assert found.value("watch_lost_seconds_total") == 0
    assert watch.told.count("blind: ") == watch.told.count("reads again: it was blind for ") == 2
    assert "they are judged, and count for no counter" in watch.told


@dataclass
class Taker:
    """An OTLP receiver of metrics that refuses the first ones."""

    refuses: int
    taken: list[ExportMetricsServiceRequest] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)

    @contextmanager
    def at(self, port: int) -> Iterator[None]:
        taker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taker.headers.append(self.headers["authorization"])
                taker.refuses -= 1
                if taker.refuses < 0:
                    taker.taken.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(503 if taker.refuses >= 0 else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - http.server's name

        with answering(port, Handler):
            yield


@pytest.mark.full
def test_the_same_metrics_go_out_by_otlp_and_a_receiver_that_refuses_loses_none(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    taker = Taker(refuses=2)
    header = tmp_path / "header"
    header.write_text("Authorization: Bearer of-mine")
    where = ("--otlp-metrics", f"http://127.0.0.1:{port}", "--otlp-metrics-header", f"@{header}")
    with taker.at(port), running_watch(tmp_path, *SOON, *where) as watch:
        watch.export(a_minute_ago(CUTS.spans()))
        watch.until(lambda one: one.word("cart") == "cuts" and one.value("watch_otlp_failures_total"), "it failed")
        wait_for(lambda: any(points(one, "grpc_tracing_cut_calls") for one in taker.taken), "it takes them")
        shown = watch.scrape()
    last = taker.taken[-1]
    (cut,) = points(last, "grpc_tracing_cut_calls")
    assert cut == shown.total("cut_calls_total")
    assert set(taker.headers) == {"Bearer of-mine"}
    assert watch.told.count("answered 503") == 1
    assert "takes them again" in watch.told
    assert "of-mine" not in watch.told


def points(request: ExportMetricsServiceRequest, name: str) -> list[float]:
    (group,) = request.resource_metrics
    (scope,) = group.scope_metrics
    return [point.as_double for one in scope.metrics if one.name == name for point in one.sum.data_points]


@pytest.mark.full
def test_nobody_at_the_url_of_the_metrics_is_a_line_and_no_more(tmp_path: Path) -> None:
    with running_watch(tmp_path, *SOON, "--otlp-metrics", "http://me:pa55word@127.0.0.1:1") as watch:
        watch.until(lambda one: one.value("watch_otlp_failures_total") >= 2, "it tries again")
        assert watch.told.count("metrics: http://127.0.0.1:1/v1/metrics does not take them") == 1
    assert "pa55word" not in watch.told


@pytest.mark.full
def test_a_body_that_is_no_otlp_is_refused_and_counted(tmp_path: Path) -> None:
    with running_watch(tmp_path, *SOON) as watch:
        url = f"http://{watch.address('OTLP over HTTP on ')}/v1/traces"
        assert httpx.post(url, content=b"\xff\xff", headers=PROTOBUF, trust_env=False).status_code == 400
        assert watch.scrape().value("watch_requests_refused_total", protocol="otlp_http", reason="unreadable") == 1
