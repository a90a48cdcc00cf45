"""The assembly of a trace: which span stands below which, what is missing, and which services called which.

Everything here is a function of the spans alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from grpc_tracing.spans.merge import merged
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.names import fold, short_cluster

# In a circle of calls, paths would grow as long as the trace: deeper calls count as part of the last one.
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A span at its place: `depth` from its piece's top, `parent` the index of its parent's row, None at a top."""

    span: Span
    depth: int
    parent: int | None


@dataclass(frozen=True)
class Trace:
    """One trace: rows depth first, siblings by start, an earlier piece before a later one."""

    trace_id: str
    rows: tuple[Row, ...]
    missing_parents: tuple[str, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        return tuple(row.span for row in self.rows)

    @cached_property
    def tops(self) -> tuple[Span, ...]:
        """The spans that stand below none: the root, and where the trace is not whole, each piece's first."""
        return tuple(row.span for row in self.rows if row.parent is None)

    @property
    def whole(self) -> bool:
        """One root and no missing parent."""
        return len(self.tops) == 1 and not self.missing_parents

    @cached_property
    def start_ns(self) -> int:
        return min(span.start_ns for span in self.spans)

    @cached_property
    def end_ns(self) -> int:
        return max(self.start_ns, *(span.end_ns for span in self.spans))

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class Edge:
    """One call from a service to another; `path` leads from its piece's first service to the callee.

    `piece` is the place of the piece's top among the trace's tops. `duration_ns` is the caller's where it left a span
    of its own for the call, `own_ns` is that without the calls that the callee made. `seen` is False where the callee
    left no span and only the caller's span names it.
    """

    path: tuple[str, ...]
    piece: int
    duration_ns: int
    own_ns: int
    error: bool
    seen: bool

    @property
    def caller(self) -> str:
        return self.path[-2]

    @property
    def callee(self) -> str:
        return self.path[-1]


def assemble(spans: Iterable[Span]) -> Trace:
    """The spans must be of one trace, and at least one; a span that came twice counts once."""
    distinct = merged(spans)
    distinct.sort(key=lambda span: span.start_ns)
    parents = _parents(distinct)
    rows = tuple(_rows(distinct, parents))
    known = {span.span_id for span in distinct}
    missing = {span.parent_id for span in distinct if span.parent_id and span.parent_id not in known}
    return Trace(distinct[0].trace_id, rows, tuple(sorted(missing)))


def _parents(spans: list[Span]) -> list[int | None]:
    """Each span's parent as an index. In Zipkin a server span may share its id with its parent, the client span."""
    by_id: dict[str, dict[bool, int]] = defaultdict(dict)
    for index, span in enumerate(spans):
        by_id[span.span_id][span.kind is Kind.SERVER] = index
    return [_parent(span, by_id) for span in spans]


def _parent(span: Span, by_id: dict[str, dict[bool, int]]) -> int | None:
    twin = by_id[span.span_id].get(False)
    if span.kind is Kind.SERVER and twin is not None:
        return twin
    found = by_id.get(span.parent_id, {})
    return found.get(True, found.get(False))


def _rows(spans: list[Span], parents: list[int | None]) -> Iterator[Row]:
    children: dict[int | None, list[int]] = defaultdict(list)
    for index, parent in enumerate(parents):
        children[parent].append(index)
    place: dict[int, int] = {}
    # What no top leads to stands in a circle of parents: its earliest span is taken for a top.
    for top in [*children[None], *range(len(spans))]:
        stack = [(top, 0)] if top not in place else []
        while stack:
            index, depth = stack.pop()
            parent = parents[index]
            yield Row(spans[index], depth, place[parent] if depth and parent is not None else None)
            place[index] = len(place)
            stack.extend((child, depth + 1) for child in reversed(children[index]) if child not in place)


def node(span: Span) -> str:
    """The name that a span's service has in pictures: its version stands beside it when it is not the usual `v1`."""
    service = fold(span.service)
    return service if span.version in {"", "v1"} else f"{service} {span.version}"


def edges(trace: Trace) -> tuple[Edge, ...]:
    """The calls between services, caller before callee; spans of one service fold into one place on the path."""
    return tuple(_edges(trace, _paths(trace)))


def _paths(trace: Trace) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for row in trace.rows:
        above = paths[row.parent] if row.parent is not None else ()
        name = node(row.span)
        folds = above and (above[-1] == name or len(above) == _DEEPEST)
        paths.append(above if folds else (*above, name))
    return paths


def _edges(trace: Trace, paths: list[tuple[str, ...]]) -> Iterator[Edge]:
    made = _own_times(trace, paths)
    answered = {row.parent for row in trace.rows}
    piece = -1
    for index, row in enumerate(trace.rows):
        piece += row.parent is None
        if row.parent is not None and paths[index] != paths[row.parent]:
            caller = trace.rows[row.parent].span
            span = caller if caller.kind is Kind.CLIENT else row.span
            error = span.error or row.span.error
            yield Edge(paths[index], piece, span.duration_ns, made[index], error, seen=True)
        if index not in answered and (callee := _unseen(row.span)):
            span, path = row.span, (*paths[index], callee)
            yield Edge(path, piece, span.duration_ns, span.duration_ns, span.error, seen=False)


def _own_times(trace: Trace, paths: list[tuple[str, ...]]) -> list[int]:
    """For each row that enters a service: the time of that call without the time of the calls made from there."""
    entry = list(range(len(trace.rows)))
    own = [row.span.duration_ns for row in trace.rows]
    for index, row in enumerate(trace.rows):
        if row.parent is None:
            continue
        if paths[index] == paths[row.parent]:
            entry[index] = entry[row.parent]
            continue
        caller = trace.rows[row.parent].span
        own[index] = caller.duration_ns if caller.kind is Kind.CLIENT else row.span.duration_ns
        own[entry[row.parent]] -= own[index]
    return [max(0, value) for value in own]


def _unseen(span: Span) -> str:
    """Whom a client span without children called, as far as Envoy's or OpenTelemetry's attributes tell.

    Istio's cluster names are `outbound|9996||orders.shop.svc.cluster.local`.
    """
    if span.kind is not Kind.CLIENT:
        return ""
    cluster = span.attribute("peer.service", "upstream_cluster.name", "upstream_cluster")
    name = short_cluster(cluster)
    return "" if name == node(span) else name
