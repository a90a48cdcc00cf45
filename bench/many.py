"""How fast the store's pages answer with 100,000 traces in it, beside an intake of spans.

`python -m bench.many` starts a store, fills it, goes on sending at a rate, and asks for one page after the other.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import httpx
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from bench.stores import send, store

SERVER, CLIENT = 2, 3
ROUTES: dict[str, tuple[str, ...]] = {
    "ListProducts": ("ingress", "shop", "catalog"),
    "Checkout": ("ingress", "shop", "payment", "ledger"),
    "AddItem": ("ingress", "shop", "cart", "catalog"),
    "Ship": ("ingress", "shop", "shipping", "courier", "ledger"),
}
_BATCH = 50
_CUTS, _FAILS, _CANARY = 0.05, 0.02, 0.1


@dataclass(frozen=True)
class Page:
    """One that is asked for; `{trace}` is the id of the newest trace that was seen in the list."""

    name: str
    path: str


PAGES = (
    Page("topology", "/?range=all"),
    Page("topology, 5 min", "/?range=5m"),
    Page("traces", "/traces?range=all"),
    Page("traces, by service, state and duration", "/traces?range=all&service=ledger&state=broken&min=5ms"),
    Page("traces, page 900", "/traces?range=all&page=900"),
    Page("traces, by id", "/traces?range=all&id=ffff"),
    Page("one trace", "/trace/{trace}"),
    Page("end to end", "/paths?range=all"),
    Page("end to end, one RPC", "/paths?range=all&call=Checkout"),
)


def call(random_: random.Random, begin_ns: int) -> list[ExportTraceServiceRequest]:
    """The spans of one call: a trace, or two where a service did not forward the headers."""
    rpc, services = random_.choice(list(ROUTES.items()))
    trace_id, parent = random_.randbytes(16), b""
    lasts = int(random_.lognormvariate(16.5, 0.6))
    failed, torn = random_.random() < _FAILS, random_.random() < _CUTS
    requests = [ExportTraceServiceRequest()]
    at = begin_ns
    for depth, (caller, callee) in enumerate(pairwise(services)):
        if torn and depth == 1:
            trace_id, parent = random_.randbytes(16), b""
            requests.append(ExportTraceServiceRequest())
        for service, kind in ((caller, CLIENT), (callee, SERVER)):
            span_id = random_.randbytes(8)
            group = requests[-1].resource_spans.add()
            group.resource.attributes.add(key="service.name").value.string_value = service
            if service == "ledger" and random_.random() < _CANARY:
                group.resource.attributes.add(key="service.version").value.string_value = "canary"
            span = group.scope_spans.add().spans.add(
                trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=f"{callee}/{rpc}",
                kind=kind, start_time_unix_nano=at, end_time_unix_nano=at + lasts,
            )  # fmt: skip
            for key, value in (
                ("component", "proxy"),
                ("grpc.path", f"/shop.{callee}/{rpc}"),
                ("http.method", "POST"),
                ("guid:x-request-id", trace_id.hex()),
                ("upstream_cluster.name", f"outbound|80||{callee}.shop.svc"),
            ):
                span.attributes.add(key=key).value.string_value = value
            span.attributes.add(key="grpc.status_code").value.string_value = "14" if failed else "0"
            span.status.code = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET
            parent, at, lasts = span_id, at + lasts // 20, lasts * 8 // 10
    return requests


def bodies(count: int, ago_s: float, seed: int) -> Iterator[bytes]:
    """So many calls, begun one after the other over the last `ago_s` seconds, some in each body."""
    random_ = random.Random(seed)  # noqa: S311 - for figures
    begin = time.time_ns() - int(ago_s * 1e9)
    for first in range(0, count, _BATCH):
        body = ExportTraceServiceRequest()
        for number in range(first, min(count, first + _BATCH)):
            for request in call(random_, begin + int(ago_s * 1e9 * number / count)):
                body.MergeFrom(request)
        yield body.SerializeToString()


def flow(url: str, rate: int) -> None:
    """Sends `rate` spans a second until it is ended."""
    random_ = random.Random(os.getpid())  # noqa: S311 - for figures
    due = time.monotonic()
    with httpx.Client(trust_env=False, timeout=60) as client:
        while True:
            body = ExportTraceServiceRequest()
            spans = 0
            while spans < rate / 10:
                for request in call(random_, time.time_ns()):
                    spans += len(request.resource_spans)
                    body.MergeFrom(request)
            send(client, url, body.SerializeToString())
            due += spans / rate
            time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def flowing(url: str, rate: int) -> Iterator[None]:
    sender = multiprocessing.get_context("spawn").Process(target=flow, args=(url, rate), daemon=True)
    if rate:
        sender.start()
    try:
        yield
    finally:
        if rate:
            sender.terminate()


def measure(client: httpx.Client, url: str, rounds: int) -> dict[str, list[float]]:
    """The seconds of each answer, by page; the pages take turns."""
    found: dict[str, list[float]] = {page.name: [] for page in PAGES}
    for _ in range(rounds):
        newest = client.get(f"http://{url}/traces", params={"range": "all", "min": "1ms"}).text
        trace = newest.partition('href="/trace/')[2][:32]
        for page in PAGES:
            begun = time.monotonic()
            answer = client.get(f"http://{url}{page.path.format(trace=trace)}")
            found[page.name].append(time.monotonic() - begun)
            assert answer.status_code == httpx.codes.OK, (page, answer.status_code)
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    lines = ["| page | median | 95th percentile | longest |", "|---|--:|--:|--:|"]
    for name, times in found.items():
        ordered = sorted(times)
        figures = statistics.median(times), ordered[int(len(ordered) * 0.95)], ordered[-1]
        lines.append(f"| {name} | " + " | ".join(f"{figure * 1000:.0f} ms" for figure in figures) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=100_000, help="in the store [%(default)s]")
    parser.add_argument("--rate", type=int, default=2_000, help="spans a second that come in meanwhile [%(default)s]")
    parser.add_argument("--rounds", type=int, default=40, help="answers of each page [%(default)s]")
    options = parser.parse_args()
    room = ("--max-traces", str(options.traces), "--max-bytes", "4GiB")
    with store(*room) as (urls, pid), httpx.Client(trust_env=False, timeout=120) as client:
        process = psutil.Process(pid)
        begun = time.monotonic()
        for body in bodies(options.traces, ago_s=3000, seed=1):
            send(client, urls["otlp_http"], body)
        client.get(f"http://{urls['http']}/traces")
        print(f"filled in {time.monotonic() - begun:.0f} s, load average {os.getloadavg()[0]:.1f}")
        with flowing(urls["otlp_http"], options.rate):
            time.sleep(5)
            before, at = client.get(f"http://{urls['http']}/healthz").json(), time.monotonic()
            cpu = process.cpu_times()
            found = measure(client, urls["http"], options.rounds)
            after, took = client.get(f"http://{urls['http']}/healthz").json(), time.monotonic() - at
            used = process.cpu_times()
            rate = (after["received"]["spans"] - before["received"]["spans"]) / took
        print("\n".join(table(found)))
        share = (used.user + used.system - cpu.user - cpu.system) / took
        print(
            f"{after['traces']:,} traces, {after['spans']:,} spans, {after['bytes'] / 2**20:,.0f} MiB counted, "
            f"{process.memory_info().rss / 2**20:,.0f} MiB resident; {rate:,.0f} spans/s came in; "
            f"{share:.0%} of a core; load average {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
