"""What each view shows, made of summaries, traces and calls: pure functions; the templates write their results out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from grpc_tracing.spans.model import Event, Kind
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.fixes import Fix, fix
from grpc_tracing.store.graph import Key, Link, Picture, Topology, layout, topology
from grpc_tracing.store.render import plural
from grpc_tracing.store.stats import PathRow, paths
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import State, TraceStatus
from grpc_tracing.store.waterfall import Waterfall, waterfall

PAGE_ROWS = 50
PAGE_EVENTS = 100
# More kinds of calls than fit above a table.
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """A service at which traces begin that should not. `forwards`: because it called on without the headers."""

    service: str
    count: int
    forwards: bool
    fix: Fix


@dataclass(frozen=True, slots=True)
class TopologyView:
    """The same picture twice, for wide and for narrow windows; rates count over `minutes`."""

    across: Picture
    upright: Picture
    links: tuple[Link, ...]
    notes: Mapping[Key, str]
    cuts: tuple[Cut, ...]
    minutes: float
    arriving: int


def topology_view(summaries: Sequence[Summary], statuses: Mapping[str, TraceStatus], now_ns: int) -> TopologyView:
    """Rates count from the first of these traces on, over a minute at least."""
    arrived = _arrived(summaries, statuses)
    graph = topology(arrived, statuses)
    first = min((summary.start_ns for summary in arrived), default=now_ns)
    return TopologyView(
        across=layout(graph, upright=False),
        upright=layout(graph, upright=True),
        links=graph.links,
        notes=_notes(graph),
        cuts=tuple(_cuts(graph, summaries)),
        minutes=max(1.0, (now_ns - first) / 60e9),
        arriving=len(summaries) - len(arrived),
    )


def _arrived(summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> list[Summary]:
    """Those whose spans are all here, or will not come: the others would be drawn in pieces for a moment."""
    return [one for one in summaries if statuses[one.trace_id].state is not State.ARRIVING]


def _notes(graph: Topology) -> dict[Key, str]:
    """A line below each node's name: how often it was called, or that it is cut off."""
    notes: dict[Key, str] = {}
    for key in graph.nodes:
        count = sum(link.load.count for link in graph.links if link.callee == key)
        begun = graph.pieces.get(key[0], 0) if key[0] == key[1] else 0
        notes[key] = f"cut off, {begun:,}×" if begun else plural(count, "call") if count else "begins calls"
    return notes


def _cuts(graph: Topology, summaries: Sequence[Summary]) -> Iterable[Cut]:
    lost = {top.node for one in summaries for top in one.tops if top.kind is Kind.CLIENT and not top.orphan}
    for service, count in graph.pieces.items():
        yield Cut(service, count, service in lost, fix())


@dataclass(frozen=True, slots=True)
class ListRow:
    """A line of a list of traces."""

    summary: Summary
    status: TraceStatus


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; empty: anything. `state` is one of State's values, or error.

    `path` is a call path from its first service on as `path_text` writes it, `edge` its last two, `call` an RPC.
    """

    service: str = ""
    state: str = ""
    min_ns: int = 0
    id: str = ""
    path: str = ""
    edge: str = ""
    call: str = ""

    def fits(self, summary: Summary, status: TraceStatus) -> bool:
        """Whether this trace stays in the list."""
        return (
            (not self.service or self.service in summary.services)
            and self._fits_state(summary, status)
            and self.call in {"", summary.name}
            and self._fits_path(summary, status)
            and summary.duration_ns >= self.min_ns
            and (not self.id or any(known.startswith(self.id) for known in (summary.trace_id, *summary.request_ids)))
        )

    def _fits_path(self, summary: Summary, status: TraceStatus) -> bool:
        if not self.path and not self.edge:
            return True
        return any(
            self.path in {"", path_text(edge.path, cut=status.cut[edge.piece])}
            and self.edge in {"", path_text(edge.path[-2:])}
            for edge in summary.edges
        )

    def _fits_state(self, summary: Summary, status: TraceStatus) -> bool:
        return summary.errors > 0 if self.state == "error" else self.state in {"", status.state}


def path_text(path: Sequence[str], *, cut: bool = False) -> str:
    """A call path as a link spells it; `cut`: it begins at a piece that was cut off."""
    return " › ".join(("…", *path) if cut else path)


@dataclass(frozen=True, slots=True)
class ListView:
    """A page of a list; `longest_ns` is the scale of the duration bars."""

    rows: tuple[ListRow, ...]
    total: int
    states: Mapping[State, int]
    pages: int
    in_range: int
    services: tuple[str, ...]
    longest_ns: int


def list_view(
    summaries: Sequence[Summary],
    statuses: Mapping[str, TraceStatus],
    wanted: Filter,
    page: int,
    per_page: int = PAGE_ROWS,
) -> ListView:
    """`summaries` newest first; pages count from 1."""
    fitting = [one for one in summaries if wanted.fits(one, statuses[one.trace_id])]
    shown = fitting[(page - 1) * per_page : page * per_page]
    return ListView(
        rows=tuple(ListRow(one, statuses[one.trace_id]) for one in shown),
        total=len(fitting),
        states=_states(fitting, statuses),
        pages=max(1, -(-len(fitting) // per_page)),
        in_range=len(summaries),
        services=tuple(sorted({service for one in summaries for service in one.services})),
        longest_ns=max((one.duration_ns for one in shown), default=0),
    )


def _states(summaries: Iterable[Summary], statuses: Mapping[str, TraceStatus]) -> Mapping[State, int]:
    return Counter(statuses[one.trace_id].state for one in summaries)


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


@dataclass(frozen=True, slots=True)
class PathsView:
    """`names` are the kinds of calls to choose from."""

    rows: tuple[PathRow, ...]
    total: int
    states: Mapping[State, int]
    names: tuple[str, ...]
    arriving: int


def paths_view(summaries: Sequence[Summary], statuses: Mapping[str, TraceStatus], call: str) -> PathsView:
    """Of the calls of this name, or of all."""
    called = [one for one in summaries if call in {"", one.name}]
    wanted = _arrived(called, statuses)
    names = [name for name, _ in Counter(one.name for one in summaries if one.name).most_common(_MOST_NAMES)]
    rows = paths(wanted, statuses)
    return PathsView(rows, len(wanted), _states(wanted, statuses), tuple(sorted(names)), len(called) - len(wanted))
