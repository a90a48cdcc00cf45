"""A real watch as a process, spans that come as time passes, and what a scrape says."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from grpc_tracing.spans.formats import documents, otlp
from grpc_tracing.spans.model import Span
from tests.audit.traffic import BEGIN, Traffic
from tests.support.waiting import wait_for

PROTOBUF = {"content-type": "application/x-protobuf"}
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Scrape:
    """Series by name and labels."""

    series: Series

    def value(self, name: str, **labels: str) -> float:
        """0 where there is none, as a counter that was not counted yet."""
        return self.series.get((f"grpc_tracing_{name}", frozenset(labels.items())), 0.0)

    def word(self, service: str) -> str:
        """The verdict that is 1; empty where the service is not known."""
        held = [labels for (name, labels), value in self.series.items() if name == "grpc_tracing_verdict" and value]
        return next((dict(labels)["verdict"] for labels in held if ("service", service) in labels), "")

    def total(self, name: str) -> float:
        """Over all labels."""
        return sum(value for (known, _), value in self.series.items() if known == f"grpc_tracing_{name}")


@dataclass(frozen=True)
class Watch:
    """A running watch; `told` grows while it runs."""

    process: subprocess.Popen[str]
    client: httpx.Client
    errors: Path
    lines: Path

    @property
    def told(self) -> str:
        return self.errors.read_text()

    def address(self, before: str) -> str:
        """What stands behind these words in its first line."""
        return wait_for(lambda: self._found(before), f"it says {before!r}: {self.told}")

    def _found(self, before: str) -> str:
        assert self.process.poll() is None, self.told
        _, found, rest = self.told.partition(before)
        return rest.split()[0].rstrip(";") if found and "\n" in rest else ""

    @property
    def url(self) -> str:
        return self.address("metrics on ").removesuffix("/metrics")

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{self.url}{path}")

    def scrape(self) -> Scrape:
        answer = self.get("/metrics")
        assert answer.status_code == 200
        return scraped(answer.text)

    def until(self, holds: Callable[[Scrape], object], what: str, timeout: float = 120.0) -> Scrape:
        """The first scrape for which this holds."""

        def found() -> Scrape | None:
            time.sleep(0.1)  # scrapes without a pause would keep it from its work
            one = self.scrape()
            return one if holds(one) else None

        return wait_for(found, f"{what}; it said: {self.told}", timeout) or self.scrape()

    def export(self, spans: Iterable[Span]) -> None:
        url = f"http://{self.address('OTLP over HTTP on ')}/v1/traces"
        answer = self.client.post(url, content=request_of(spans).SerializeToString(), headers=PROTOBUF)
        assert answer.status_code == 200, answer.content


def scraped(text: str) -> Scrape:
    """Of the text format."""
    families = text_string_to_metric_families(text)
    return Scrape({(one.name, frozenset(one.labels.items())): one.value for each in families for one in each.samples})


def request_of(spans: Iterable[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for span in spans:
        request.MergeFrom(otlp.parse_json(documents.line(span).encode()))
    return request


@contextmanager
def running_watch(folder: Path, *options: str, listens: bool = True) -> Iterator[Watch]:
    """On free ports; it has to end well by SIGTERM."""
    where = ["--metrics", "127.0.0.1:0", *(["--listen-http", "127.0.0.1:0"] if listens else [])]
    command = [sys.executable, "-m", "grpc_tracing", "watch", *where, *options]
    errors, lines = folder / "watch.err", folder / "watch.out"
    with errors.open("w") as err, lines.open("w") as out, httpx.Client(timeout=60, trust_env=False) as client:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        try:
            yield Watch(process, client, errors, lines)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, errors.read_text()
            assert "Traceback" not in errors.read_text(), errors.read_text()
        finally:
            process.kill()
            process.wait()


@dataclass
class Passing:
    """Traffic whose spans are sent as they end, from now on, by a thread; `switch` changes it on the way."""

    watch: Watch
    traffic: Traffic
    sent: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _due: list[Span] = field(default_factory=list)

    def switch(self, traffic: Traffic) -> None:
        """From now on this."""
        with self._lock:
            self.traffic = traffic
            self._due = passing(traffic)

    @contextmanager
    def going_on(self) -> Iterator[Passing]:
        self.switch(self.traffic)
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _send(self) -> None:
        while not self._ended.wait(0.1):
            now = time.time_ns()
            with self._lock:
                ended = [one for one in self._due if one.end_ns <= now]
                self._due = self._due[len(ended) :]
            if ended:
                self.watch.export(ended)
                self.sent += len(ended)


def passing(traffic: Traffic) -> list[Span]:
    """In the order in which they end, the first one now."""
    shift = time.time_ns() - BEGIN
    return sorted(shifted(traffic.spans(), shift), key=lambda one: one.end_ns)


def shifted(spans: Iterable[Span], shift: int) -> Sequence[Span]:
    """So many nanoseconds later."""
    return [replace(one, start_ns=one.start_ns + shift, end_ns=one.end_ns + shift) for one in spans]
