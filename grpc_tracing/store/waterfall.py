"""One trace as a waterfall: each span with its place in time, who made it, and what it says."""

from dataclasses import dataclass

from grpc_tracing.spans.model import Attributes, Event, Kind, Span
from grpc_tracing.spans.names import operation
from grpc_tracing.spans.tree import Trace, faults, node
from grpc_tracing.store.clocks import Skew, clocks, moved

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
    span's. `key` tells the row from the others, whatever comes later; `name` says what the span did. `fault` is `began`
    where it failed and nothing below did, `carried` where it failed because of that, else empty.
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
    key: str
    name: str
    fault: str
    skew: Skew | None


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`ticks` are the times, in nanoseconds from the start, at each quarter of the axis.

    `skews` are the clocks that are off, each pair of services once; `corrected`: the bars stand without that.
    """

    bars: tuple[Bar, ...]
    hidden: int
    ticks: tuple[int, ...]
    skews: tuple[Skew, ...]
    corrected: bool


def waterfall(trace: Trace, *, reported: bool = False) -> Waterfall:
    """The rows in their order, cut after MOST_ROWS; `reported`: with the times as they came."""
    told = clocks(trace)
    shifts = (0,) * len(trace.rows) if reported else told.shifts
    times = [moved(row.span, shift) for row, shift in zip(trace.rows, shifts, strict=True)]
    start = min(begin for begin, _ in times)
    axis = _Axis(start, max(1, max(end for _, end in times) - start))
    began = faults(trace)
    bars = []
    piece = 0
    room = _EVENTS_ON_PAGE
    for index, row in enumerate(trace.rows[:MOST_ROWS]):
        piece += row.parent is None
        events = row.span.events[: min(room, MOST_EVENTS)]
        room -= len(events)
        begins = piece if row.parent is None and len(trace.tops) > 1 else 0
        fault = "began" if index in began else "carried" if row.span.error else ""
        parent = trace.rows[row.parent].span if row.parent is not None else None
        bars.append(
            Bar(
                span=row.span, node=node(row.span), depth=row.depth,
                left=axis.left(times[index]), width=axis.width(times[index]),
                role=role(row.span), piece=begins, headers=headers(row.span), events=events,
                key=row.span.span_id + ("-server" if row.span.kind is Kind.SERVER else ""),
                name=operation(row.span, parent), fault=fault, skew=told.skews.get(index),
            )
        )  # fmt: skip
    ticks = tuple(axis.length * quarter // 4 for quarter in range(5))
    skews = {(one.service, one.caller): one for one in reversed(told.skews.values())}
    return Waterfall(tuple(bars), len(trace.rows) - len(bars), ticks, tuple(skews.values()), not reported)


@dataclass(frozen=True, slots=True)
class _Axis:
    """From a start, so many nanoseconds long; places on it in units of SCALE."""

    start: int
    length: int

    def left(self, times: tuple[int, int]) -> float:
        return round(min(SCALE - 2.0, (times[0] - self.start) * SCALE / self.length), 1)

    def width(self, times: tuple[int, int]) -> float:
        return round(max(2.0, min(SCALE - self.left(times), (times[1] - times[0]) * SCALE / self.length)), 1)


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
