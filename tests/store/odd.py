"""Traces of which each once came out wrong on a page: deep, with clocks that are off, linked, with very many events."""

import time
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.store.calls import CLIENT, SERVER, new_id, talk_parts
from tests.store.support import Part, export_request

INTERNAL = 1
DEPTH = 30
EVENTS = 10_000
BEHIND_MS = 250


@dataclass(frozen=True)
class Odd:
    """A request to export, and the id of its trace; `at` is the span that the test looks at."""

    trace_id: str
    request: ExportTraceServiceRequest
    at: str


def deep() -> Odd:
    """A trace each of whose spans is the parent of the next."""
    parts: list[Part] = []
    for depth in range(DEPTH):
        parent = parts[-1].span_id if parts else ""
        parts.append(Part(f"deep{depth}", INTERNAL, new_id(), parent, depth * 10, 1000 - depth * 20, f"step-{depth}"))
    return _odd(parts, parts[-1])


def skewed() -> Odd:
    """A call whose svc2 has a clock that stands so much behind."""
    parts = talk_parts()
    index = next(number for number, part in enumerate(parts) if part.service == "svc2")
    odd = _odd(parts, parts[index])
    for group in odd.request.resource_spans:
        if group.resource.attributes[0].value.string_value == "svc2":
            for span in group.scope_spans[0].spans:
                span.start_time_unix_nano -= BEHIND_MS * 10**6
                span.end_time_unix_nano -= BEHIND_MS * 10**6
    return odd


def told(linked: str) -> Odd:
    """A span with a scope, a link to the trace `linked`, and counts of what its maker dropped."""
    parts = talk_parts(fails_at="svc2")
    odd = _odd(parts, parts[4])
    scope = odd.request.resource_spans[4].scope_spans[0]
    scope.scope.name, scope.scope.version = "io.example.grpc", "1.6"
    scope.spans[0].links.add(trace_id=bytes.fromhex(linked), span_id=b"12345678")
    scope.spans[0].dropped_attributes_count, scope.spans[0].dropped_events_count = 7, 11
    return odd


def long_parts(spans: int) -> list[Part]:
    """A call of so many spans: its first service calls ten of which the first calls the others, time after time."""
    parts = [Part("shop", SERVER, new_id(), at_us=0, lasts_us=spans * 100, name="Buy")]
    for number in range(1, spans):
        first = number - (number - 1) % 10
        parent = parts[0 if number == first else first]
        parts.append(
            Part(
                f"svc{number % 7}", CLIENT, new_id(), parent.span_id, number * 100, 1000 if number == first else 90,
                f"Step{number}",
                error=number == spans - 2, attributes={"pod": f"pod-{number}"},
            )
        )  # fmt: skip
    return parts


def eventful() -> Odd:
    parts = talk_parts()
    odd = _odd(parts, parts[0])
    span = odd.request.resource_spans[0].scope_spans[0].spans[0]
    for number in range(EVENTS):
        span.events.add(time_unix_nano=time.time_ns(), name=f"event-{number}-")
    return odd


def _odd(parts: list[Part], at: Part) -> Odd:
    trace_id = new_id(16)
    return Odd(trace_id, export_request(trace_id, parts), at.span_id)
