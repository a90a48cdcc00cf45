"""What the pages of many traces show: pure functions of chosen traces; the templates write their results out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.fixes import Fix, fix
from grpc_tracing.store.folded import PathRow, paths
from grpc_tracing.store.graph import Key, Link, Picture, Topology, layout, topology
from grpc_tracing.store.grouped import TraceGroup, grouped
from grpc_tracing.store.listing import Filter, ordered
from grpc_tracing.store.render import plural
from grpc_tracing.store.runs import Change, changes
from grpc_tracing.store.stats import Load
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import State

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
    """The same picture twice, for wide and for narrow windows; rates count over `minutes`.

    `weights` are from 1 to 4: how thick each link is drawn.
    """

    across: Picture
    upright: Picture
    links: tuple[Link, ...]
    weights: Mapping[tuple[Key, Key], int]
    notes: Mapping[Key, str]
    cuts: tuple[Cut, ...]
    minutes: float
    arriving: int


WEIGHTS: Final[dict[str, Callable[[Load], int]]] = {
    "rate": lambda load: load.count,
    "errors": lambda load: load.errors,
    "p50": lambda load: load.p50_ns,
    "p95": lambda load: load.p95_ns,
}


def weight_of(name: str) -> str:
    """One that is not known is the rate."""
    return name if name in WEIGHTS else "rate"


def topology_view(chosen: Chosen, now_ns: int, weight: str = "rate") -> TopologyView:
    """Rates count from the first of these traces on, over a minute at least."""
    arrived = chosen.without(State.ARRIVING)
    graph = topology(arrived)
    return TopologyView(
        across=layout(graph, upright=False),
        upright=layout(graph, upright=True),
        links=graph.links,
        weights=_weights(graph.links, WEIGHTS[weight]),
        notes=_notes(graph),
        cuts=tuple(_cuts(graph, chosen)),
        minutes=_minutes(arrived, now_ns),
        arriving=len(chosen) - len(arrived),
    )


def _minutes(chosen: Chosen, now_ns: int) -> float:
    starts = chosen.table.traces["start"][chosen.rows]
    first = int(starts.min()) if len(starts) else now_ns
    return max(1.0, (now_ns - first) / 60e9)


def _weights(links: Iterable[Link], measure: Callable[[Load], int]) -> dict[tuple[Key, Key], int]:
    """By the half, the quarter and the eighth of the largest."""
    values = {(link.caller, link.callee): measure(link.load) for link in links}
    most = max(values.values(), default=0)
    return {key: 1 + sum(value * part >= most for part in (2, 4, 8)) if value else 1 for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class NodeView:
    """Of the traces that pass one node: calls in and out of it, and what they call. `begun` counts cut-off pieces."""

    total: int
    states: Mapping[State, int]
    begun: int
    entering: tuple[Link, ...]
    leaving: tuple[Link, ...]
    routes: tuple[TraceGroup, ...]
    minutes: float


def node_view(chosen: Chosen, node: str, now_ns: int) -> NodeView:
    """Nothing of a node that is not there."""
    passing = Filter(service=node).chosen(chosen)
    arrived = passing.without(State.ARRIVING)
    graph = topology(arrived)
    return NodeView(
        len(passing),
        passing.states,
        graph.pieces.get(node, 0),
        tuple(link for link in graph.links if link.callee[1] == node),
        tuple(link for link in graph.links if link.caller[1] == node),
        grouped(arrived, "route"),
        _minutes(chosen.without(State.ARRIVING), now_ns),
    )


def _notes(graph: Topology) -> dict[Key, str]:
    """A line below each node's name: how often it was called, or that it is cut off."""
    notes: dict[Key, str] = {}
    for key in graph.nodes:
        count = sum(link.load.count for link in graph.links if link.callee == key)
        begun = graph.pieces.get(key[0], 0) if key[0] == key[1] else 0
        notes[key] = f"cut off, {begun:,}×" if begun else plural(count, "call") if count else "begins calls"
    return notes


def _cuts(graph: Topology, chosen: Chosen) -> Iterable[Cut]:
    lost = {top.node for code in chosen.used("tops") for top in chosen.table.pieces[code] if top.called}
    for service, count in graph.pieces.items():
        yield Cut(service, count, service in lost, fix())


@dataclass(frozen=True, slots=True)
class PathsView:
    """`names` are the kinds of calls to choose from; `chosen` is the row that was asked for."""

    rows: tuple[PathRow, ...]
    total: int
    states: Mapping[State, int]
    names: tuple[str, ...]
    arriving: int
    chosen: PathRow | None


def paths_view(chosen: Chosen, call: str, row: str = "") -> PathsView:
    """Of the calls of this name, or of all; `row` is the text of a path."""
    table = chosen.table
    counts = {table.names[code]: count for code, count in chosen.used("name").items()}
    called = Filter(call=call).chosen(chosen)
    arrived = called.without(State.ARRIVING)
    names = tuple(sorted([name for name in counts if name][:_MOST_NAMES]))
    rows = paths(arrived)
    asked = next((one for one in rows if one.text == row), None)
    return PathsView(rows, len(arrived), arrived.states, names, len(called) - len(arrived), asked)


@dataclass(frozen=True, slots=True)
class ChangesView:
    """`before` and `after` are how many traces began before and since `split_ns`."""

    split_ns: int
    before: int
    after: int
    changes: tuple[Change, ...]


def changes_view(chosen: Chosen, split_ns: int, call: str) -> ChangesView:
    """Of the calls of this name, or of all."""
    arrived = Filter(call=call).chosen(chosen).without(State.ARRIVING)
    since = arrived.table.traces["start"] >= split_ns
    before, after = arrived.only(~since), arrived.only(since)
    return ChangesView(split_ns, len(before), len(after), changes(before, after))


def middle(chosen: Chosen, now_ns: int) -> int:
    """Between the first and the last of them."""
    starts = chosen.table.traces["start"][chosen.rows]
    return (int(starts.min()) + int(starts.max()) + 1) // 2 if len(starts) else now_ns


def alike(chosen: Chosen, summary: Summary) -> tuple[Summary, ...]:
    """Traces to compare one with: the longest and the newest of the same call."""
    rows = Filter(call=summary.name).chosen(chosen)
    found = [chosen.table.summaries[row] for sort in ("longest", "newest") for row in ordered(rows, sort)[:6].tolist()]
    return tuple({one.trace_id: one for one in found if one.trace_id != summary.trace_id}.values())
