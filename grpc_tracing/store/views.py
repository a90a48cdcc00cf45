"""What each view shows, made of summaries, traces and calls: pure functions; the templates write their results out."""

from collections.abc import Mapping
from dataclasses import dataclass

from grpc_tracing.spans.model import Event
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import TraceStatus
from grpc_tracing.store.waterfall import Waterfall, waterfall

PAGE_EVENTS = 100


@dataclass(frozen=True, slots=True)
class TraceView:
    """`siblings` are all traces of the call, this one among them, the earliest first; none where it is alone."""

    trace: Trace
    summary: Summary
    status: TraceStatus
    waterfall: Waterfall
    siblings: tuple[Summary, ...]


def trace_view(
    trace: Trace, summaries: Mapping[str, Summary], status: TraceStatus, *, reported: bool = False
) -> TraceView:
    """`summaries` by trace id: of this trace and of its siblings; `reported`: clocks that are off stay uncorrected."""
    own = summaries[trace.trace_id]
    others = [summaries[sibling] for sibling in status.siblings]
    family = sorted([own, *others], key=lambda one: one.start_ns) if others else []
    return TraceView(trace, own, status, waterfall(trace, reported=reported), tuple(family))


@dataclass(frozen=True, slots=True)
class EventsView:
    """A page of the events that spans with one id have; pages count from 1."""

    trace_id: str
    name: str
    events: tuple[Event, ...]
    total: int
    page: int
    pages: int


def events_view(trace: Trace, span_id: str, page: int) -> EventsView | None:
    """None where the trace has no such span; a page beyond the last is the last."""
    spans = [span for span in trace.spans if span.span_id == span_id]
    if not spans:
        return None
    events = sorted((event for span in spans for event in span.events), key=lambda event: event.at_ns)
    pages = max(1, -(-len(events) // PAGE_EVENTS))
    page = min(page, pages)
    shown = tuple(events[(page - 1) * PAGE_EVENTS : page * PAGE_EVENTS])
    return EventsView(trace.trace_id, spans[0].name, shown, len(events), page, pages)
