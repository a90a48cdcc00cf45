"""One trace as a waterfall: each span with its place in time, who made it, and what it says."""

from dataclasses import dataclass

from grpc_tracing.spans.model import Attributes, Event, Kind, Span
from grpc_tracing.spans.tree import Row, Trace, node

# More rows than a person reads; a longer trace's JSON has them all.
MOST_ROWS = 1000
# Events shown with a span, and on a page in all; the rest has pages of its own. Ten thousand stall a browser.
MOST_EVENTS = 20
_EVENTS_ON_PAGE = 500
# The width of the time axis in its own units.
SCALE = 1000


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the waterfall; `left` and `width` in units of SCALE, `role` the span's maker and direction.

    `piece` counts the pieces from 1 where this row begins one of several, else it is 0. `events` are the first of the
    span's.
    """

    span: Span
    node: str
    depth: int
    left: float
    width: float
    role: str
    piece: int
    headers: Attributes
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`ticks` are the times, in nanoseconds from the start, at each quarter of the axis."""

    bars: tuple[Bar, ...]
    hidden: int
    ticks: tuple[int, ...]


def waterfall(trace: Trace) -> Waterfall:
    """The rows in their order, cut after MOST_ROWS."""
    length = max(1, trace.duration_ns)
    bars = []
    piece = 0
    room = _EVENTS_ON_PAGE
    for row in trace.rows[:MOST_ROWS]:
        piece += row.parent is None
        events = row.span.events[: min(room, MOST_EVENTS)]
        room -= len(events)
        begins = piece if row.parent is None and len(trace.tops) > 1 else 0
        bars.append(_bar(row, trace.start_ns, length, begins, events))
    ticks = tuple(length * quarter // 4 for quarter in range(5))
    return Waterfall(tuple(bars), len(trace.rows) - len(bars), ticks)


def _bar(row: Row, start_ns: int, length: int, piece: int, events: tuple[Event, ...]) -> Bar:
    span = row.span
    left = min(SCALE - 2.0, (span.start_ns - start_ns) * SCALE / length)
    width = max(2.0, min(SCALE - left, span.duration_ns * SCALE / length))
    return Bar(span, node(span), row.depth, round(left, 1), round(width, 1), role(span), piece, headers(span), events)


def role(span: Span) -> str:
    """Who made the span, and in which direction the call went."""
    envoy = span.attribute("component") == "proxy" or ("telemetry.sdk.name", "envoy") in span.resource
    if not envoy:
        return "application" if span.kind is not Kind.CLIENT else "application, outbound"
    who = "gateway" if node(span) == "ingress" else "sidecar"
    return {Kind.SERVER: f"{who}, inbound", Kind.CLIENT: f"{who}, outbound"}.get(span.kind, who)


def headers(span: Span) -> Attributes:
    """The trace headers that carry this span on, as W3C Trace Context and B3 spell them."""
    pairs = [
        ("traceparent", f"00-{span.trace_id}-{span.span_id}-01"),
        ("x-b3-traceid", span.trace_id),
        ("x-b3-spanid", span.span_id),
        ("x-b3-parentspanid", span.parent_id),
        ("x-b3-sampled", "1"),
    ]
    return tuple((key, value) for key, value in pairs if value)
