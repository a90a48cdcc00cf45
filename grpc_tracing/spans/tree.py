"""The assembly of a trace: which span stands below which, what is missing, and which services called which.

Everything here is a function of the spans alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

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
    left no span and only the caller's span names it. `retries` are the attempts before the last one. `began`: it
    failed, and no call made because of it did.
    """

    path: tuple[str, ...]
    piece: int
    duration_ns: int
    own_ns: int
    error: bool
    seen: bool
    retries: int = 0
    began: bool = False

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
    calls = _calls(trace, paths)
    own = _own_times(trace, paths, calls)
    pieces, began = _pieces(trace), faults(trace)
    for call in calls:
        entered, lasted = call.entered, call.duration_ns(trace)
        yield Edge(
            call.attempts[0].path,
            pieces[call.attempts[0].row],
            lasted,
            lasted if entered is None else own[entered],
            call.failed(trace),
            seen=entered is not None,
            retries=len(call.attempts) - 1,
            began=any(attempt.row in began or attempt.caller in began for attempt in call.attempts[-1:]),
        )


def faults(trace: Trace) -> frozenset[int]:
    """The rows at which a failure began: spans that failed, and none below them did."""
    carried = set()
    for row in trace.rows:
        at = row.parent if row.span.error else None
        while at is not None and at not in carried:
            carried.add(at)
            at = trace.rows[at].parent
    return frozenset(index for index, row in enumerate(trace.rows) if row.span.error and index not in carried)


def retried(trace: Trace) -> frozenset[int]:
    """The rows of attempts after which the same call was tried again."""
    calls = _calls(trace, _paths(trace))
    return frozenset(attempt.row for call in calls for attempt in call.attempts[:-1])


def _pieces(trace: Trace) -> list[int]:
    """For each row the place of its piece's top among the tops."""
    return [count - 1 for count in accumulate(row.parent is None for row in trace.rows)]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """`row` is the callee's span; where it left none, the caller's own."""

    row: int
    caller: int
    path: tuple[str, ...]

    @property
    def seen(self) -> bool:
        return self.row != self.caller


@dataclass(frozen=True, slots=True)
class _Call:
    """A call with all attempts at it, in the order of their start; the `anchor` span lasts from first to last."""

    anchor: int
    attempts: list[_Attempt]

    @property
    def entered(self) -> int | None:
        """The row of the callee's first span."""
        return next((one.row for one in self.attempts if one.seen), None)

    def _span(self, trace: Trace) -> Span:
        """The span that tells of the call as its caller saw it."""
        first = self.attempts[0]
        callers = {attempt.caller for attempt in self.attempts}
        caller = trace.rows[first.caller if len(callers) == 1 else self.anchor].span
        return caller if caller.kind is Kind.CLIENT else trace.rows[first.row].span

    def duration_ns(self, trace: Trace) -> int:
        return self._span(trace).duration_ns

    def failed(self, trace: Trace) -> bool:
        """Whether it failed in the end: an attempt that was tried again is no error of the call."""
        last = self.attempts[-1]
        of_caller = trace.rows[last.caller].span.error
        return self._span(trace).error or trace.rows[last.row].span.error or of_caller

    def takes(self, attempt: _Attempt, trace: Trace) -> bool:
        """Whether this is one more attempt: below the same client span, or after one that failed."""
        last = self.attempts[-1]
        failed = trace.rows[last.row].span.error or trace.rows[last.caller].span.error
        return (attempt.seen and last.seen and last.caller == attempt.caller) or failed


def _calls(trace: Trace, paths: list[tuple[str, ...]]) -> list[_Call]:
    """A proxy or a gRPC channel that retries leaves a span for each attempt at the callee, below one of the caller."""
    calls: list[_Call] = []
    latest: dict[tuple[int, tuple[str, ...]], _Call] = {}
    for attempt in _attempts(trace, paths):
        anchor = _anchor(trace, attempt.caller)
        call = latest.get((anchor, attempt.path))
        if call and trace.rows[anchor].span.kind is Kind.CLIENT and call.takes(attempt, trace):
            call.attempts.append(attempt)
        else:
            call = latest[anchor, attempt.path] = _Call(anchor, [attempt])
            calls.append(call)
    return calls


def _attempts(trace: Trace, paths: list[tuple[str, ...]]) -> Iterator[_Attempt]:
    answered = {row.parent for row in trace.rows}
    for index, row in enumerate(trace.rows):
        if row.parent is not None and paths[index] != paths[row.parent]:
            yield _Attempt(index, row.parent, paths[index])
        if index not in answered and (callee := _unseen(row.span)):
            yield _Attempt(index, index, (*paths[index], callee))


def _anchor(trace: Trace, index: int) -> int:
    """The outermost client span of the caller around this one: its SDK's around its sidecar's."""
    row = trace.rows[index]
    while row.span.kind is Kind.CLIENT and row.parent is not None:
        above = trace.rows[row.parent]
        if above.span.kind is not Kind.CLIENT or above.span.service != row.span.service:
            break
        index, row = row.parent, above
    return index


def _own_times(trace: Trace, paths: list[tuple[str, ...]], calls: list[_Call]) -> list[int]:
    """For each row that first enters a service in a call: the time of the call without the calls made from there."""
    call_of = {attempt.row: call for call in calls for attempt in call.attempts if attempt.seen}
    entry = list(range(len(trace.rows)))
    own = [row.span.duration_ns for row in trace.rows]
    for index, row in enumerate(trace.rows):
        if row.parent is None:
            continue
        if paths[index] == paths[row.parent]:
            entry[index] = entry[row.parent]
            continue
        call = call_of[index]
        entry[index] = index if call.entered is None else call.entered
        if entry[index] == index:
            own[index] = call.duration_ns(trace)
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
