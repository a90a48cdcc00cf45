"""The pieces of one call sewn together where its trace was torn, each seam with what shows that it belongs there.

A call in and the call out that should have gone on in its trace are joined by what is certain first: the request id
that both bear, or the requester's note and the hops' records. Time joins them only where the audit says that the
service cuts traces, and where no other call in was under way at that instance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from grpc_tracing.audit.facts import ENTRIES, Layer, fact
from grpc_tracing.headers.families import REQUEST_ID
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.names import fold, operation
from grpc_tracing.spans.tree import Trace, node
from grpc_tracing.store.axis import stretch, ticks
from grpc_tracing.store.calls import Call
from grpc_tracing.store.fixes import Fix, fix, languages_of
from grpc_tracing.store.summary import request_id_of
from grpc_tracing.store.suspects import Suspect
from grpc_tracing.store.threads import lost_at, threads
from grpc_tracing.store.waterfall import MOST_ROWS, role

_NARROWEST: Final = 2.0


class By(StrEnum):
    """What joins two pieces."""

    RECORDS = "hop records"
    REQUEST_ID = "request id"
    NOTE = "requester's note"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Seam:
    """Where `service` called on and the trace `before` did not go on, but `after` began.

    `shows` says in a sentence each what joins the two, in the order of `by`; `lost` are the headers that were not
    forwarded, with the reason where a record tells it.
    """

    service: str
    node: str
    before: str
    after: str
    by: tuple[By, ...]
    shows: tuple[str, ...]
    lost: tuple[tuple[str, str], ...]
    says: str
    fix: Fix


@dataclass(frozen=True, slots=True)
class SewnBar:
    """A span of the call; `left` and `width` in units of SCALE, `piece` from 1. `seam` lies in front of it."""

    span: Span
    node: str
    name: str
    role: str
    depth: int
    left: float
    width: float
    piece: int
    seam: Seam | None


@dataclass(frozen=True, slots=True)
class Sewn:
    """The whole call. `apart` are the trace ids of pieces that nothing places; `hidden` rows are not drawn."""

    bars: tuple[SewnBar, ...]
    hidden: int
    ticks: tuple[int, ...]
    spans: int
    pieces: tuple[str, ...]
    seams: tuple[Seam, ...]
    apart: tuple[str, ...]

    @property
    def duration_ns(self) -> int:
        return self.ticks[-1]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the spans: the requester's note, and pairs that time joins."""

    call: Call | None = None
    suspects: Sequence[Suspect] = ()


_Place = tuple[int, int]
"""A piece and a row of it."""


@dataclass
class _Table:
    """All pieces, the earliest first; `above` says where the first row of a piece hangs."""

    traces: Sequence[Trace]
    above: dict[_Place, _Place] = field(default_factory=dict)
    seams: dict[_Place, Seam] = field(default_factory=dict)

    def span(self, place: _Place) -> Span:
        return self.traces[place[0]].rows[place[1]].span

    def tops(self) -> Iterator[_Place]:
        for piece, trace in enumerate(self.traces):
            yield from ((piece, row) for row, one in enumerate(trace.rows) if one.parent is None)

    def top_of(self, place: _Place) -> _Place:
        """The top of all that this row hangs below."""
        at: _Place | None = place
        while at:
            place, at = at, self.parent(at)
        return place

    def parent(self, place: _Place) -> _Place | None:
        parent = self.traces[place[0]].rows[place[1]].parent
        return self.above.get(place) if parent is None else (place[0], parent)

    def children(self) -> dict[_Place | None, list[_Place]]:
        found: dict[_Place | None, list[_Place]] = {}
        for piece, trace in enumerate(self.traces):
            for row in range(len(trace.rows)):
                found.setdefault(self.parent((piece, row)), []).append((piece, row))
        for held in found.values():
            held.sort(key=lambda place: self.span(place).start_ns)
        return found


def sew(traces: Sequence[Trace], known: Known) -> Sewn | None:
    """`traces` are the pieces of one call, this one among them; None where nothing joins any two of them."""
    table = _Table(sorted(traces, key=lambda one: one.start_ns))
    for top in list(table.tops()):
        if not table.span(top).parent_id:
            _join(table, top, known)
    if not table.seams:
        return None
    return _drawn(table)


def _join(table: _Table, top: _Place, known: Known) -> None:
    span = table.span(top)
    found = [
        (rank, place, by)
        for place in _entries(table, top)
        if (by := _by(table, place, top, known)) and (rank := _rank(by, table.span(place), span))
    ]
    if found:
        _, place, by = max(found)
        table.above[top] = place
        table.seams[top] = _seam(table, place, top, by, known)


def _entries(table: _Table, top: _Place) -> Iterator[_Place]:
    """The calls into the service that began this piece, where these stand in another piece and not below this one."""
    span = table.span(top)
    for piece, trace in enumerate(table.traces):
        for row, one in enumerate(trace.rows):
            place = (piece, row)
            entered = piece != top[0] and one.span.kind in ENTRIES and fold(one.span.service) == fold(span.service)
            if entered and table.top_of(place) != top:
                yield place


def _by(table: _Table, entered: _Place, left: _Place, known: Known) -> tuple[By, ...]:
    """What joins a call in and a call out that began a trace; nothing where they are of one service by chance."""
    above, below = table.span(entered), table.span(left)
    found: list[By] = []
    if known.call and {above.trace_id, below.trace_id} <= set(known.call.trace_ids):
        found.append(By.RECORDS if _place_in(known.call, above) is not None else By.NOTE)
    if (request_id := request_id_of(below)) and request_id_of(above) == request_id:
        found.append(By.REQUEST_ID)
    if not found and _suspect(known, above, below):
        found.append(By.TIME)
    return tuple(found)


def _suspect(known: Known, above: Span, below: Span) -> Suspect | None:
    ids = (above.trace_id, below.trace_id)
    return next(
        (one for one in known.suspects if (one.above, one.below) == ids and one.entered_ns == above.start_ns), None
    )


def _rank(by: Sequence[By], entered: Span, left: Span) -> tuple[bool, bool, int]:
    """The request id decides between several calls in, then time: the latest one that was under way."""
    under_way = entered.start_ns <= left.start_ns <= entered.end_ns
    return By.REQUEST_ID in by, under_way, entered.start_ns if entered.start_ns <= left.start_ns else -entered.start_ns


def _place_in(call: Call, entered: Span) -> int | None:
    """The number of the hop that this call in entered."""
    return next((number for number, hop in enumerate(call.hops) if fold(hop.service) == fold(entered.service)), None)


def _seam(table: _Table, place: _Place, top: _Place, by: tuple[By, ...], known: Known) -> Seam:
    above, below = table.span(place), table.span(top)
    lost = tuple(_lost(known.call, above)) if known.call and By.RECORDS in by else ()
    spans = [one for trace in table.traces for one in trace.spans]
    where = "in" if below.kind in ENTRIES else _where(below)
    return Seam(
        service=above.service,
        node=node(above),
        before=above.trace_id,
        after=below.trace_id,
        by=by,
        shows=tuple(_shows(one, above, below, known) for one in by),
        lost=lost,
        says=_says(above, below, by, lost),
        fix=fix(where, languages_of(spans, above.service)),
    )


def _where(left: Span) -> str | None:
    return "inside" if fact(left).layer is Layer.SDK else None


def _lost(call: Call, entered: Span) -> Iterator[tuple[str, str]]:
    place = _place_in(call, entered)
    if place is None:
        return
    for thread in lost_at(threads(call), place):
        yield thread.key, thread.stops[place].ends


def _shows(by: By, entered: Span, left: Span, known: Known) -> str:
    name, before, after = node(entered), entered.trace_id[:8], left.trace_id[:8]
    match by:
        case By.RECORDS:
            return f"the requester's note names traces {before} and {after} of this call, and the records say where"
        case By.NOTE:
            return f"the requester's note names traces {before} and {after} of this call; no record is of {name}"
        case By.REQUEST_ID:
            return f"the call into {name} in trace {before} and the call out in {after} both bear {request_id_of(left)}"
        case _:
            found = _suspect(known, entered, left)
            return found.said if found else ""


def _says(entered: Span, left: Span, by: Sequence[By], lost: Sequence[tuple[str, str]]) -> str:
    """Which header was not forwarded, as far as it shows."""
    name, began = node(entered), f"{left.trace_id[:8]} began"
    if left.kind in ENTRIES:
        return f"{name}'s SDK read no parent from the metadata: trace {began}"
    if lost:
        reasons = {reason for _, reason in lost if reason}
        why = f" ({reasons.pop()})" if len(reasons) == 1 else ""
        return f"{name} received {', '.join(key for key, _ in lost)} and did not forward {_them(lost)}{why}"
    if fact(left).layer is Layer.SDK:
        return f"{name}'s SDK lost the context between the call in and the call out: trace {began}"
    family = "traceparent" if ("telemetry.sdk.name", "envoy") in left.resource else "the headers that its sidecar reads"
    if By.REQUEST_ID in by:
        return f"{name} forwarded {REQUEST_ID}, and not {family}: trace {began}"
    return f"{name} called on without {family}: trace {began}"


def _them(lost: Sequence[tuple[str, str]]) -> str:
    return "it" if len(lost) == 1 else "them"


def _drawn(table: _Table) -> Sewn:
    joined = sorted({piece for top, place in table.above.items() for piece in (top[0], place[0])})
    rows = [row for row in _rows(table) if row[0][0] in joined]
    spans = [table.span(place) for place, _ in rows]
    axis = _Axis(table, min(one.start_ns for one in spans), max(one.end_ns for one in spans), joined)
    bars = tuple(axis.bar(place, depth) for place, depth in rows[:MOST_ROWS])
    ids = [one.trace_id for one in table.traces]
    return Sewn(
        bars=bars,
        hidden=len(rows) - len(bars),
        ticks=ticks(axis.length, 4),
        spans=len(rows),
        pieces=tuple(ids[piece] for piece in joined),
        seams=tuple(table.seams[place] for place, _ in rows if place in table.seams),
        apart=tuple(one for piece, one in enumerate(ids) if piece not in joined),
    )


def _rows(table: _Table) -> Iterator[tuple[_Place, int]]:
    children = table.children()
    stack = [(top, 0) for top in reversed(children.get(None, []))]
    while stack:
        place, depth = stack.pop()
        yield place, depth
        stack.extend((child, depth + 1) for child in reversed(children.get(place, ())))


@dataclass(frozen=True, slots=True)
class _Axis:
    """From a time to a time, Unix ns; `joined` are the pieces that are drawn."""

    table: _Table
    start: int
    end: int
    joined: Sequence[int]

    @property
    def length(self) -> int:
        return max(1, self.end - self.start)

    def bar(self, place: _Place, depth: int) -> SewnBar:
        span, above = self.table.span(place), self.table.parent(place)
        left, width = stretch(span.start_ns - self.start, span.duration_ns, self.length, _NARROWEST)
        return SewnBar(
            span=span,
            node=node(span),
            name=operation(span, self.table.span(above) if above else None),
            role=role(span),
            depth=depth,
            left=left,
            width=width,
            piece=self.joined.index(place[0]) + 1,
            seam=self.table.seams.get(place),
        )
