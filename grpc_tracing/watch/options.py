"""The command line of `grpc-tracing watch`, read once and checked."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from grpc_tracing import values
from grpc_tracing.arguments import Parser, checked
from grpc_tracing.audit import sampling
from grpc_tracing.audit.sampling import Sampling
from grpc_tracing.backends.credentials import header as backend_header
from grpc_tracing.backends.jaeger import Source
from grpc_tracing.commands.backend_options import add_backend, backend
from grpc_tracing.store.options import Address, address
from grpc_tracing.watch.core import Bounds

_MOST_STEPS: Final = 1_000


@dataclass(frozen=True)
class Options:
    """Spans come from `source`, or to `grpc` and `http`; metrics are on `metrics` and go to the URL `otlp`."""

    source: Source | None
    api: str
    grpc: Address | None
    http: Address | None
    metrics: Address
    bounds: Bounds
    sampling: Sampling | None
    otlp: str | None
    otlp_headers: tuple[tuple[str, str], ...]


def parser() -> Parser:
    """Of `grpc-tracing watch`."""
    made = Parser(
        prog="grpc-tracing watch",
        description="Audits all the time: judges the spans of the last while at each step, and serves what it finds as "
        "metrics for Prometheus. Ends by SIGTERM or Ctrl-C.",
    )
    _add_sources(made)
    _add_times(made)
    _add_metrics(made)
    return made


def _add_sources(made: Parser) -> None:
    add = made.add_argument
    add("--traces", metavar="URL", help="read a backend's spans, at each step those of the last one")
    add_backend(made)
    add("--listen", metavar="HOST:PORT", help="take spans by OTLP over gRPC, such as a Collector's on :4317")
    add("--listen-http", metavar="HOST:PORT", help="take spans by OTLP over HTTP, and Zipkin's")


def _add_times(made: Parser) -> None:
    add, bounds = made.add_argument, Bounds()
    time = checked(values.positive_duration)
    add("--window", metavar="TIME", default="10m", type=time, help="spans of so long are judged together [%(default)s]")
    add("--step", metavar="TIME", default="1m", type=time, help="judge, and count, so often [%(default)s]")
    settle = "a trace may grow until no span of it came for so long; a backend is read so far behind [%(default)s]"
    add("--settle", metavar="TIME", default="15s", type=time, help=settle)
    share = "the share of traces that are sampled at their start, such as 0.1 or 10%% [what the spans tell]"
    add("--sampling", metavar="RATE", type=checked(sampling.stated), help=share)
    spans = "spans of traces that may grow; above it the oldest traces are judged early [%(default)s]"
    add("--max-spans", metavar="N", default=str(bounds.spans), type=checked(values.count), help=spans)
    size = "memory for all that is held; above it the window gets shorter, then spans are dropped [%(default)s]"
    default = f"{bounds.size // 1024**2}MiB"
    add("--max-bytes", metavar="SIZE", default=default, type=checked(values.store_size), help=size)


def _add_metrics(made: Parser) -> None:
    add = made.add_argument
    add("--metrics", metavar="HOST:PORT", default="127.0.0.1:9464", help="/metrics, /healthz and /readyz [%(default)s]")
    add("--otlp-metrics", metavar="URL", help="send the metrics too, by OTLP over HTTP, such as http://HOST:4318")
    add(
        "--otlp-metrics-header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=checked(backend_header),
        help="goes with each request to --otlp-metrics; @FILE reads it, so that no process list shows it",
    )


def parse(arguments: list[str]) -> Options:
    """Exits with code 2 and one line where an option is wrong."""
    made = parser()
    given = made.parse_args(arguments)
    _check_sources(made, given)
    return Options(
        source=backend(made, given, given.traces) if given.traces else None,
        api=given.traces_api,
        grpc=address(made, "--listen", given.listen) if given.listen else None,
        http=address(made, "--listen-http", given.listen_http) if given.listen_http else None,
        metrics=address(made, "--metrics", given.metrics),
        bounds=_bounds(made, given),
        sampling=given.sampling,
        otlp=_otlp(made, given.otlp_metrics) if given.otlp_metrics else None,
        otlp_headers=tuple(given.otlp_metrics_header),
    )


def _check_sources(made: Parser, given: Namespace) -> None:
    listens = given.listen or given.listen_http
    if not given.traces and not listens:
        made.error("nothing to watch: give --traces URL to read a backend, or --listen HOST:PORT to take spans")
    if given.traces and listens:
        made.error("--traces reads a backend and --listen takes spans: give one of them, or start two")
    if not given.traces and (given.traces_header or given.traces_ca):
        made.error("--traces-header and --traces-ca are for a backend: give its URL to --traces")


def _bounds(made: Parser, given: Namespace) -> Bounds:
    if given.window < given.step:
        made.error(f"--window {given.window:g}s is shorter than --step {given.step:g}s: give a longer window")
    if given.window > _MOST_STEPS * given.step:
        made.error(f"--window has more than {_MOST_STEPS:,} steps: give a longer --step")
    return Bounds(given.window, given.step, given.settle, given.max_spans, given.max_bytes)


def _otlp(made: Parser, url: str) -> str:
    """Where metrics go: OTLP's path, unless the URL has one."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        made.error("--otlp-metrics: write the URL of an OTLP receiver, such as http://127.0.0.1:4318")
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/metrics"
