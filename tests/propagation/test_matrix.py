"""Each cell of the table in docs/library.md: real servers and clients, both APIs on both sides, all four patterns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from grpc_tracing.headers.families import CARRIERS, Metadata
from grpc_tracing.headers.reading import read, same_trace
from tests.propagation.hop import KINDS, OPTIONS, PATTERNS
from tests.propagation.leaf import Leaf, serve
from tests.propagation.table import AIO_STREAMS, COLUMNS, ROWS, TRACE, outcome
from tests.support.cells import cells
from tests.support.processes import ROOT, environment
from tests.talk.instrumented import TOOLS

OTEL, DDTRACE = "opentelemetry-instrument", "ddtrace-run"


@dataclass(frozen=True)
class Way:
    """How a hop passes headers on: a column of the table, the hop's own interceptors, and the tool it runs under."""

    column: str
    mode: str
    tool: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


WAYS: Final = {
    "interceptors alone": Way("grpc_tracing", "ours"),
    "hand-made": Way("hand-made", "hand-made"),
    "OpenTelemetry, manual": Way("OpenTelemetry", "OpenTelemetry"),
    "OpenTelemetry, auto": Way("OpenTelemetry", "nothing", OTEL),
    "ddtrace, auto": Way("ddtrace", "nothing", DDTRACE),
    "interceptors, then OpenTelemetry": Way("grpc_tracing and OpenTelemetry", "ours, then OpenTelemetry"),
    "OpenTelemetry, then interceptors": Way("grpc_tracing and OpenTelemetry", "OpenTelemetry, then ours"),
    "interceptors under OpenTelemetry, auto": Way("grpc_tracing and OpenTelemetry", "ours", OTEL),
    "interceptors under ddtrace, auto": Way("grpc_tracing and ddtrace", "ours", DDTRACE),
}


@dataclass(frozen=True)
class Hop:
    """A running process with a hop of each kind, in front of `leaf`."""

    way: Way
    ports: dict[str, int]
    leaf: Leaf

    def send(self, kind: str, pattern: str, sent: Metadata) -> Metadata:
        """What the last hop got of one call."""
        name = f"{kind} {pattern} {sent}".encode()
        with grpc.insecure_channel(f"127.0.0.1:{self.ports[kind]}", options=OPTIONS) as channel:
            method: Any = getattr(channel, pattern)(f"/hop/{pattern}")
            answer = method(iter([name]) if pattern.startswith("stream") else name, metadata=sent, timeout=20)
            assert [*(answer if pattern.endswith("stream") else [answer])] == [name]
        (came,) = self.leaf.metadata[name]
        return came


@contextmanager
def running(way: Way, instrumented: Path | None) -> Iterator[Hop]:
    programs = instrumented / "bin" if instrumented else Path(sys.executable).parent
    command = [str(programs / way.tool)] if way.tool else []
    command += [str(programs / "python"), "-m", "tests.propagation.hop"]
    variables = {**TOOLS.get(way.tool, {}), **way.variables}
    leaf = Leaf()
    with (
        serve(leaf) as last,
        subprocess.Popen(
            [*command, last, way.mode],
            env=environment(variables),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdin, process.stdout
        try:
            yield Hop(way, json.loads(process.stdout.readline() if process.stdout else b""), leaf)
        finally:
            process.kill()


BRIEF: Final = ("interceptors alone", "hand-made")
"""Those of the default run."""


@pytest.fixture(scope="module", params=cells(WAYS, BRIEF))
def hop(request: pytest.FixtureRequest) -> Iterator[Hop]:
    way = WAYS[request.param]
    plain = not way.tool and "OpenTelemetry" not in way.mode
    with running(way, None if plain else request.getfixturevalue("instrumented")) as one:
        yield one


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_cell_is_as_the_table_says(hop: Hop, kind: str, pattern: str) -> None:
    column = hop.way.column
    by_aio_stream = kind.endswith("aio") and pattern != "unary_unary"
    expected = AIO_STREAMS.get(column, COLUMNS[column]) if by_aio_stream else COLUMNS[column]
    assert {row: outcome(sent, hop.send(kind, pattern, sent)) for row, sent in ROWS.items()} == expected


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_trace_is_doubled(hop: Hop, kind: str, pattern: str) -> None:
    sent = tuple(dict(pair for row in ROWS.values() for pair in row).items())
    came = [key for key, _ in hop.send(kind, pattern, sent)]
    assert {key: came.count(key) for key in CARRIERS if came.count(key) > 1} == {}


PROPAGATORS: Final = {
    "tracecontext": {"traceparent"},
    "b3": {"b3"},
    "b3multi": {"x-b3-spanid"},
    "jaeger": {"uber-trace-id"},
    "tracecontext,b3multi": {"traceparent", "x-b3-spanid"},
}
"""OTEL_PROPAGATORS: the keys whose span is then the SDK's own."""
SPELLED: Final[Metadata] = tuple(
    pair for row in ("`traceparent`, `tracestate`, `baggage`", "`x-b3-*`", "Jaeger", "lanes") for pair in ROWS[row]
)


@pytest.mark.long
@pytest.mark.parametrize("propagators", PROPAGATORS)
def test_the_sdk_writes_what_its_propagators_say_and_the_rest_is_copied(instrumented: Path, propagators: str) -> None:
    way = Way("", "ours", OTEL, {"OTEL_PROPAGATORS": propagators})
    with running(way, instrumented) as hop:
        for kind in KINDS:
            came = hop.send(kind, "unary_unary", SPELLED)
            rewritten = {key for key, value in came if (key, value) not in SPELLED}
            assert rewritten - {"x-b3-parentspanid"} == PROPAGATORS[propagators]
            assert len(dict(came)) == len(came), "nothing is doubled"
            assert ("b3" in dict(came)) != ("x-b3-traceid" in dict(came)), "one spelling of B3"
            assert all(same_trace(context.trace_id, TRACE) for context in read(came))
            assert ("x-asm-prefer-tag", "canary") in came
