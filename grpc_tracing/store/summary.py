"""What the lists and the pictures need of a trace, small enough to keep for every trace in the store."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.names import rpc_of
from grpc_tracing.spans.tree import Edge, Trace, edges, node, retried
from grpc_tracing.store.onward import Calls, calls_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Top:
    """Where a piece of a trace begins. `orphan`: the span names a parent that is not there."""

    node: str
    kind: Kind
    orphan: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """`tops` are the beginnings of the trace's pieces, one if it is whole; `serves` the services that were called.

    `request_ids` are the values of `x-request-id` that the spans tell; `cut` says that spans are missing because the
    trace was longer than the store allows. `failed`: the first span says so, which is that of the whole call.
    `failures` are the services whose spans failed and were not tried again.
    `operations` are service, span name and kind as the spans have them. `changed_ns` is when the last span came in.
    """

    trace_id: str
    start_ns: int
    duration_ns: int
    changed_ns: int
    name: str
    spans: int
    tops: tuple[Top, ...]
    errors: int
    failed: bool
    failures: tuple[str, ...]
    cut: bool
    services: tuple[str, ...]
    serves: tuple[str, ...]
    request_ids: tuple[str, ...]
    operations: tuple[tuple[str, str, Kind], ...]
    edges: tuple[Edge, ...]
    calls: Calls


def summarize(trace: Trace, *, changed_ns: int = 0, cut: bool = False) -> Summary:
    """What only the store knows of the trace is told beside it."""
    again = retried(trace)
    final = [row.span for index, row in enumerate(trace.rows) if index not in again]
    return Summary(
        trace_id=trace.trace_id,
        start_ns=trace.start_ns,
        duration_ns=trace.duration_ns,
        changed_ns=changed_ns,
        name=next((name for span in trace.spans if (name := rpc_of(span))), sys.intern(trace.tops[0].name)),
        spans=len(trace.spans),
        tops=tuple(Top(node(top), top.kind, bool(top.parent_id)) for top in trace.tops),
        errors=sum(span.error for span in trace.spans),
        failed=trace.tops[0].error,
        failures=_distinct(node(span) for span in final if span.error),
        cut=cut,
        services=_distinct(node(span) for span in trace.spans),
        serves=_distinct(node(span) for span in trace.spans if span.kind is Kind.SERVER),
        request_ids=_distinct(value for span in trace.spans if (value := request_id_of(span))),
        operations=_distinct((span.service, sys.intern(span.name), span.kind) for span in trace.spans),
        edges=edges(trace),
        calls=calls_of(trace.spans, (trace.rows[index].span.span_id for index in again)),
    )


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def request_id_of(span: Span) -> str:
    """Envoy writes `guid:x-request-id`, the requester `talk.request_id`."""
    return span.attribute("guid:x-request-id", "talk.request_id")
