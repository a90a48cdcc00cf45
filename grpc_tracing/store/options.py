"""The command line, read once and checked."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from grpc_tracing import values
from grpc_tracing.arguments import Parser, checked
from grpc_tracing.backends import credentials
from grpc_tracing.backends.jaeger import is_local
from grpc_tracing.calling import targets
from grpc_tracing.store import hosts
from grpc_tracing.store.senders import Goal, goal
from grpc_tracing.store.store import Limits


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, and the option that says so. Port 0 takes any free one."""

    option: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """`zipkin` is a port of its own for Zipkin; `otlp_http` takes Zipkin's spans too.

    `forward`: where spans are passed on to.

    `allowed_hosts` are names under which the pages may be asked for, beside the loopback's. `tail`: seconds that a
    trace is kept back.
    """

    http: Address
    otlp_grpc: Address
    otlp_http: Address
    zipkin: Address | None
    limits: Limits
    allowed_hosts: tuple[str, ...]
    tail: float
    forward: Goal | None = None


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"grpc-tracing store: {self.explained(message)}; see grpc-tracing store --help\n")
        raise SystemExit(2)


def parse(arguments: list[str]) -> Options:
    """Exits with code 2 and one line where an option is wrong."""
    made = parser()
    given = made.parse_args(arguments)
    http = address(made, "--http", given.http)
    own = (http, *(address(made, option, text) for option, text in _intakes(given)))
    return Options(
        http=http,
        otlp_grpc=address(made, "--otlp-grpc", given.otlp_grpc),
        otlp_http=address(made, "--otlp-http", given.otlp_http),
        zipkin=address(made, "--zipkin", given.zipkin) if given.zipkin else None,
        limits=Limits(
            traces=_count(made, "--max-traces", given.max_traces),
            size=_size(made, given.max_bytes),
            spans_per_trace=_count(made, "--max-spans-per-trace", given.max_spans_per_trace),
        ),
        allowed_hosts=(http.host.lower(), *_hosts(made, given.allowed_host)),
        tail=_tail(made, given.tail),
        forward=_forward(made, given, own),
    )


def parser() -> _Parser:
    """Of `grpc-tracing store`."""
    limits = Limits()
    made = _Parser(prog="grpc-tracing store", description="The trace store: spans in, query API and pages out.")
    add = made.add_argument
    add("--http", metavar="HOST:PORT", default="127.0.0.1:16686", help="pages and Jaeger's v3 query API [%(default)s]")
    add("--otlp-grpc", metavar="HOST:PORT", default="127.0.0.1:4317", help="OTLP over gRPC [%(default)s]")
    add(
        "--otlp-http",
        metavar="HOST:PORT",
        default="127.0.0.1:4318",
        help="OTLP over HTTP, and Zipkin's POST /api/v2/spans [%(default)s]",
    )
    add("--zipkin", metavar="HOST:PORT", help="a port of its own for Zipkin, usually 127.0.0.1:9411 [none]")
    add(
        "--allowed-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer --http under this name too, or *.DOMAIN; may repeat [localhost, the host of --http, any address]",
    )
    add("--max-traces", metavar="N", default=str(limits.traces), help="traces kept; the oldest go first [%(default)s]")
    size = f"{limits.size // 1024**2}MiB"
    add("--max-bytes", metavar="SIZE", default=size, help="memory for spans, such as 64MiB or 1GiB [%(default)s]")
    longest = str(limits.spans_per_trace)
    add("--max-spans-per-trace", metavar="N", default=longest, help="a longer trace is cut [%(default)s]")
    add("--tail", metavar="TIME", default="0s", help="show a trace so long after its first span [%(default)s]")
    add("--forward", metavar="URL", help="pass spans on by OTLP: http(s)://HOST:PORT, or grpc(s)://HOST:PORT [nowhere]")
    add(
        "--forward-header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=checked(credentials.header),
        help="goes with them; @FILE reads it, so that no process list shows it [OTEL_EXPORTER_OTLP_HEADERS]",
    )
    add("--forward-ca", metavar="FILE", type=Path, help="the CA that vouches for the URL")
    return made


def _intakes(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    found = {"--otlp-grpc": given.otlp_grpc, "--otlp-http": given.otlp_http, "--zipkin": given.zipkin}
    return ((option, text) for option, text in found.items() if text)


def _forward(parser: _Parser, given: argparse.Namespace, own: Iterable[Address]) -> Goal | None:
    if not given.forward:
        if given.forward_header or given.forward_ca:
            parser.error("--forward-header and --forward-ca are for --forward URL")
        return None
    try:
        headers = tuple(given.forward_header) or credentials.from_environment(os.environ)
        found = goal(given.forward, headers, given.forward_ca)
        parts = urlsplit(found.url)
        if is_local(found.url) and parts.port and parts.port in {one.port for one in own}:
            raise ValueError(f"{found.url} is this store itself")
        return found
    except ValueError as error:
        parser.error(f"--forward: {error}")


def _tail(parser: _Parser, text: str) -> float:
    try:
        return values.duration(text)
    except ValueError as error:
        parser.error(f"--tail: {error}")


def address(parser: Parser, option: str, text: str) -> Address:
    """Where to listen. Exits with code 2 and one line where it is no address."""
    try:
        host, port = targets.split_host_port(targets.listening(text), lowest=0)
    except ValueError as error:
        parser.error(f"{option}: {error}, such as 127.0.0.1:4317 or [::1]:4317")
    return Address(option, host.strip("[]"), port)


def _hosts(parser: _Parser, given: list[str]) -> list[str]:
    try:
        return [hosts.pattern(text) for text in given]
    except ValueError as error:
        parser.error(f"--allowed-host: {error}")


def _count(parser: _Parser, option: str, text: str) -> int:
    try:
        return values.count(text)
    except ValueError as error:
        parser.error(f"{option}: {error}")


def _size(parser: _Parser, text: str) -> int:
    try:
        return values.store_size(text)
    except ValueError as error:
        parser.error(f"--max-bytes: {error}")
