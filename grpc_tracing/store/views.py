"""What each view shows, made of summaries, traces and calls: pure functions; the templates write their results out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from grpc_tracing.spans.model import Event
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.drawings import Drawing
from grpc_tracing.store.finding import found
from grpc_tracing.store.overview import Member, Overview, members, overview
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import TraceStatus
from grpc_tracing.store.waterfall import MOST_EVENTS, Bar, Rows, Waterfall, for_file, for_page, waterfall

PAGE_EVENTS = 100


@dataclass(frozen=True, slots=True)
class TraceView:
    """`siblings` are all traces of the call, this one among them, the earliest first; none where it is alone.

    `rows` are those of the waterfall that are shown at once, `hits` the places of those that a search found; None where
    nothing was searched for.
    """

    trace: Trace
    summary: Summary
    status: TraceStatus
    waterfall: Waterfall
    rows: Rows
    siblings: tuple[Summary, ...]
    overview: Overview
    members: tuple[Member, ...]
    hits: tuple[int, ...] | None = None
    version: str = ""


def trace_view(trace: Trace, summaries: Mapping[str, Summary], status: TraceStatus) -> TraceView:
    """As a file shows it. `summaries` by trace id: of this trace and of its siblings."""
    fall = waterfall(trace)
    own, family = summaries[trace.trace_id], _family(trace.trace_id, summaries, status)
    return TraceView(trace, own, status, fall, for_file(fall), family, *_glance(fall))


def trace_page(
    drawn: Drawing, summaries: Mapping[str, Summary], status: TraceStatus, first: int = 0, find: str = ""
) -> TraceView:
    """As a page shows it: some rows from one on."""
    trace, fall = drawn.trace, drawn.fall
    own, family = summaries[trace.trace_id], _family(trace.trace_id, summaries, status)
    rows = for_page(fall, first)
    hits = found(trace, fall.bars, find) if find.strip() else None
    return TraceView(trace, own, status, fall, rows, family, *_glance(fall), hits=hits, version=drawn.version)


def _family(trace_id: str, summaries: Mapping[str, Summary], status: TraceStatus) -> tuple[Summary, ...]:
    others = [summaries[sibling] for sibling in status.siblings]
    return tuple(sorted([summaries[trace_id], *others], key=lambda one: one.start_ns)) if others else ()


def _glance(fall: Waterfall) -> tuple[Overview, tuple[Member, ...]]:
    return overview(fall.bars), members(fall.bars)


@dataclass(frozen=True, slots=True)
class SpanView:
    """One span by itself, with its first events; `at` is its place in the waterfall."""

    trace: Trace
    bar: Bar
    at: int


def span_view(drawn: Drawing, key: str) -> SpanView | None:
    """None where the trace has no such row."""
    for at, bar in enumerate(drawn.fall.bars):
        if bar.key == key:
            return SpanView(drawn.trace, replace(bar, events=bar.span.events[:MOST_EVENTS]), at)
    return None


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
