"""One trace as a waterfall: each span with its place in time, who made it, and what it says."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from grpc_tracing.spans.model import Attributes, Event, Kind, Span
from grpc_tracing.spans.names import operation
from grpc_tracing.spans.tree import Trace, faults, node
from grpc_tracing.store.axis import SCALE, ticks
from grpc_tracing.store.clocks import Skew, clocks, moved
from grpc_tracing.store.times import times

# More rows than a person reads in a file; a longer trace's JSON has them all.
MOST_ROWS = 1000
# Rows that a page holds at once, and a script adds at once.
AT_ONCE = 200
# Events shown with a span, and on a page in all; the rest has pages of its own. Ten thousand stall a browser.
MOST_EVENTS = 20
_EVENTS_ON_PAGE = 500

# A begin and a width in units of SCALE.
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the waterfall; `left` and `width` in units of SCALE, `role` the span's maker and direction.

    `piece` counts the pieces from 1 where this row begins one of several, else it is 0. `events` are the first of the
    span's. `key` tells the row from the others, whatever comes later; `name` says what the span did. `fault` is `began`
    where it failed and nothing below did, `carried` where it failed because of that, else empty. `parent` is the place
    of the row above, `below` how many rows hang below. `own_ns` is the time in which none of its children ran, `share`
    its part of the whole axis; `critical` is where it is on the critical path, `marks` where its events are.
    """

    span: Span
    node: str
    depth: int
    left: float
    width: float
    role: str
    piece: int
    events: tuple[Event, ...]
    key: str
    name: str
    fault: str
    skew: Skew | None
    parent: int | None
    below: int
    own_ns: int
    share: float
    critical: tuple[Place, ...]
    marks: tuple[float, ...]

    @property
    def headers(self) -> Attributes:
        return headers(self.span)


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`ticks` are the times, in nanoseconds from the start, at each quarter of the axis.

    `skews` are the clocks that are off, each pair of services once; `corrected`: the bars stand without that.
    """

    bars: tuple[Bar, ...]
    ticks: tuple[int, ...]
    skews: tuple[Skew, ...]
    corrected: bool

    @property
    def length_ns(self) -> int:
        return self.ticks[-1]

    @property
    def deepest(self) -> int:
        return max(bar.depth for bar in self.bars)

    @property
    def faults(self) -> tuple[Bar, ...]:
        """The rows at which a failure began."""
        return tuple(bar for bar in self.bars if bar.fault == "began")


@dataclass(frozen=True, slots=True)
class Rows:
    """A stretch of a waterfall; `first` counts from 0. `lean`: what a span tells is on a page of its own."""

    bars: tuple[Bar, ...]
    first: int
    total: int
    lean: bool

    @property
    def hidden(self) -> int:
        return self.total - len(self.bars)

    @property
    def end(self) -> int:
        return self.first + len(self.bars)


def for_file(fall: Waterfall) -> Rows:
    """The first rows, with all that their spans tell."""
    return Rows(fall.bars[:MOST_ROWS], 0, len(fall.bars), lean=False)


def for_page(fall: Waterfall, first: int = 0) -> Rows:
    """The stretch of AT_ONCE rows that this one is in, the first one where there is no such row."""
    total = len(fall.bars)
    first = first - first % AT_ONCE if 0 <= first < total else 0
    return Rows(fall.bars[first : first + AT_ONCE], first, total, lean=total > AT_ONCE)


def waterfall(trace: Trace, *, reported: bool = False) -> Waterfall:
    """The rows in their order; `reported`: with the times as they came."""
    told = clocks(trace)
    shifts = (0,) * len(trace.rows) if reported else told.shifts
    lasting = [moved(row.span, shift) for row, shift in zip(trace.rows, shifts, strict=True)]
    start = min(begin for begin, _ in lasting)
    axis = _Axis(start, max(1, max(end for _, end in lasting) - start))
    went = times(trace.rows, lasting)
    began, below, pieces = faults(trace), _below(trace), list(accumulate(row.parent is None for row in trace.rows))
    bars = []
    room = _EVENTS_ON_PAGE
    for index, row in enumerate(trace.rows):
        events = row.span.events[: min(room, MOST_EVENTS)]
        room -= len(events)
        parent = trace.rows[row.parent].span if row.parent is not None else None
        bars.append(
            Bar(
                span=row.span, node=node(row.span), depth=row.depth,
                left=axis.left(lasting[index]), width=axis.width(lasting[index]),
                role=role(row.span), piece=pieces[index] if parent is None and pieces[-1] > 1 else 0, events=events,
                key=row.span.span_id + ("-server" if row.span.kind is Kind.SERVER else ""),
                name=operation(row.span, parent), skew=told.skews.get(index),
                fault="began" if index in began else "carried" if row.span.error else "",
                parent=row.parent, below=below[index], own_ns=went.own[index],
                share=min(1.0, row.span.duration_ns / axis.length),
                critical=tuple(axis.place(one) for one in went.critical[index]),
                marks=axis.marks(event.at_ns + shifts[index] for event in row.span.events),
            )
        )  # fmt: skip
    skews = {(one.service, one.caller): one for one in reversed(told.skews.values())}
    return Waterfall(tuple(bars), ticks(axis.length, 4), tuple(skews.values()), not reported)


def _below(trace: Trace) -> list[int]:
    """How many rows hang below each: a row stands before all that hang below it."""
    below = [0] * len(trace.rows)
    for index in range(len(trace.rows) - 1, -1, -1):
        parent = trace.rows[index].parent
        if parent is not None:
            below[parent] += below[index] + 1
    return below


@dataclass(frozen=True, slots=True)
class _Axis:
    """From a start, so many nanoseconds long; places on it in units of SCALE."""

    start: int
    length: int

    def at(self, ns: int) -> float:
        return round(min(float(SCALE), max(0.0, (ns - self.start) * SCALE / self.length)), 3)

    def left(self, lasting: tuple[int, int]) -> float:
        return self.at(lasting[0])

    def width(self, lasting: tuple[int, int]) -> float:
        return round(max(0.0, self.at(lasting[1]) - self.at(lasting[0])), 3)

    def place(self, lasting: tuple[int, int]) -> Place:
        return self.left(lasting), self.width(lasting)

    def marks(self, at_ns: Iterable[int]) -> tuple[float, ...]:
        """Those that fall on one point of a wide window are one."""
        return tuple(sorted({float(round(self.at(one))) for one in at_ns}))


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
