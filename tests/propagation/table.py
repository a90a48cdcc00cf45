"""What becomes of each header: rows of headers, columns of ways to pass them on. docs/library.md shows this table.

`python -m tests.propagation.table` writes it there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grpc_tracing.headers.families import Metadata, is_span_key
from grpc_tracing.headers.reading import read, same_trace

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = ("traceparent", f"00-{TRACE}-{SPAN}-01")

ROWS: Final[dict[str, Metadata]] = {
    "`traceparent`, `tracestate`, `baggage`": (TRACEPARENT, ("tracestate", "rojo=1"), ("baggage", "a=1")),
    "`x-b3-*`": (
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-parentspanid", "00f067aa0ba902b6"),
        ("x-b3-sampled", "1"),
    ),
    "`b3`": (("b3", f"{TRACE}-{SPAN}-1"),),
    "`x-request-id`": (("x-request-id", "0f2e1c7e-4a52-4d6e-9d3e-8f6f0a5c6b1d"),),
    "`x-client-trace-id`, `x-ot-span-context`": (("x-client-trace-id", "c"), ("x-ot-span-context", "o")),
    "SkyWalking": (("sw8", f"1-{TRACE}-{SPAN}-1-a-b-c-d"), ("sw8-correlation", "a"), ("sw8-x", "0-")),
    "Datadog": (
        ("x-datadog-trace-id", str(int(TRACE[16:], 16))),
        ("x-datadog-parent-id", str(int(SPAN, 16))),
        ("x-datadog-sampling-priority", "1"),
        ("x-datadog-origin", "rum"),
        ("x-datadog-tags", f"_dd.p.tid={TRACE[:16]}"),
    ),
    "Google Cloud, AWS": (
        ("x-cloud-trace-context", f"{TRACE}/1;o=1"),
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793"),
    ),
    "Jaeger": (("uber-trace-id", f"{TRACE}:{SPAN}:0:1"), ("uberctx-user", "a")),
    "lanes": (("x-asm-prefer-tag", "canary"),),
    "your own `-bin` key": (("x-tenant-bin", b"\x00\xff\n"),),
    "`baggage` twice": (TRACEPARENT, ("baggage", "a=1"), ("baggage", "b=2")),
    "`tracestate` twice": (TRACEPARENT, ("tracestate", "x=1"), ("tracestate", "y=2")),
    "another key twice": (("sw8-x", "1"), ("sw8-x", "2")),
}

KEPT, LOST, SPAN_ON, LAST, TURNED = "kept", "lost", "kept, span new", "the last", "both, in turn"

_ALL_KEPT: Final = dict.fromkeys(ROWS, KEPT)
_ALL_LOST: Final = dict.fromkeys(ROWS, LOST)
_W3C, _DATADOG = "`traceparent`, `tracestate`, `baggage`", "Datadog"
_TWICE: Final = ("`baggage` twice", "`tracestate` twice")
_OPENTELEMETRY: Final = _ALL_LOST | {_W3C: SPAN_ON} | dict.fromkeys(_TWICE, LAST)
_DDTRACE: Final = _OPENTELEMETRY | {_DATADOG: SPAN_ON}

COLUMNS: Final[dict[str, dict[str, str]]] = {
    "grpc_tracing": _ALL_KEPT,
    "hand-made": _ALL_LOST
    | {_W3C: KEPT, "`x-b3-*`": "without x-b3-parentspanid", "`x-request-id`": KEPT}
    | dict.fromkeys(_TWICE, LAST),
    "OpenTelemetry": _OPENTELEMETRY,
    "ddtrace": _DDTRACE,
    "grpc_tracing and OpenTelemetry": _ALL_KEPT | {_W3C: SPAN_ON} | dict.fromkeys(_TWICE, TURNED),
    "grpc_tracing and ddtrace": _ALL_KEPT | {_W3C: SPAN_ON, _DATADOG: SPAN_ON} | dict.fromkeys(_TWICE, TURNED),
}
"""Per column: what becomes of the headers of each row, in all patterns, by aio and sync servers and clients."""
AIO_STREAMS: Final = {"hand-made": _ALL_LOST}
"""Where streamed calls by `grpc.aio` differ: of an interceptor with all four bases it asks for unary calls alone."""


def outcome(sent: Metadata, came: Metadata) -> str:
    """One of the words above, or what else became of which key."""
    words = {key: _of_key(key, sent, came) for key in dict.fromkeys(key for key, _ in sent)}
    lost = [key for key, word in words.items() if word == LOST]
    if lost and len(lost) < len(words):
        return f"without {', '.join(lost)}"
    found = set(words.values())
    changed = found - {KEPT, SPAN_ON} or found - {KEPT} or {KEPT}
    return changed.pop() if len(changed) == 1 else str(words)


def _of_key(key: str, sent: Metadata, came: Metadata) -> str:
    before, after = ([value for name, value in pairs if name == key] for pairs in (sent, came))
    if before == after or not after:
        return KEPT if after else LOST
    if _same_but_the_span(key, before, sent, came) and len(after) == 1:
        return SPAN_ON
    if [_without_ddtrace(value) for value in after] == before:
        return KEPT
    if [_without_ddtrace(value) for value in after] == before[-1:]:
        return LAST
    return TURNED if [_without_ddtrace(value) for value in after] == before[::-1] else f"{before} became {after}"


def _without_ddtrace(value: str | bytes) -> str | bytes:
    """ddtrace puts an entry of its own in front of a tracestate."""
    return value.partition(",")[2] if isinstance(value, str) and value.startswith("dd=") else value


def _same_but_the_span(key: str, _: object, sent: Metadata, came: Metadata) -> bool:
    if is_span_key(key):
        return True
    traces = [one.trace_id for pairs in (sent, came) for one in read(pairs) if one.key == key and one.trace_id]
    return len(traces) == 2 and same_trace(*traces)


BEGIN, END = "<!-- what is kept -->\n", "<!-- end of what is kept -->\n"
LIBRARY: Final = Path(__file__).parents[2] / "docs" / "library.md"


def markdown() -> str:
    lines = ["| what came | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in ROWS:
        cells = [_cell(column, row) for column in COLUMNS]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(column: str, row: str) -> str:
    usual, streamed = COLUMNS[column][row], AIO_STREAMS.get(column, COLUMNS[column])[row]
    return usual if usual == streamed else f"{usual}; aio streams: {streamed}"


def main() -> None:
    text = LIBRARY.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    LIBRARY.write_text(before + BEGIN + "\n" + markdown() + "\n" + END + after)


if __name__ == "__main__":
    main()
