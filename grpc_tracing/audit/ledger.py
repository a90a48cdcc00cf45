"""What is kept of the spans read: counts, 18 bytes for each call in, and 16 for each trace begun."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple, Self, TypeVar

from grpc_tracing.audit.facts import ENTRIES, Fact, Layer, fact, target_of
from grpc_tracing.audit.traces import Begins, CallOut, OpenTraces, Trace
from grpc_tracing.spans.model import Span

_IDS: Final = 200_000
"""Request ids that wait for their other half."""
_WAITING: Final = 1000
"""Calls out of one request id that wait."""
EXAMPLES: Final = 3
"""Of calls cut, that a group shows."""
SKEW_NS: Final = 1_000_000
_TARGETS: Final = 64
_SETS: Final = 4096
_VERSIONS: Final = 64
"""Of one service, that are told apart in time."""
_T = TypeVar("_T")


class Place(NamedTuple):
    """Where spans come from: one instance's proxy or SDK."""

    service: str
    layer: Layer
    instance: str


class Group(NamedTuple):
    """Calls out of one service, as one layer sees them, to one target.

    Or, where it `arrives`, calls into its SDK: those that begin a trace did not go on from the sidecar's.
    """

    service: str
    layer: Layer
    target: str
    arrives: bool = False


class Continued(NamedTuple):
    """Which calls out continue a call in: of which RPC, in which instance and version."""

    route: str
    instance: str
    version: str


@dataclass(slots=True)
class Times:
    """Starts and ends of calls of one kind at one place, ns."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def add(self, start: int, end: int) -> None:
        self.starts.append(start)
        self.ends.append(end)


@dataclass(slots=True)
class Entered(Times):
    """Calls in of one RPC at one place; `goes_on` has for each the number of its set in `Onward`."""

    goes_on: array[int] = field(default_factory=lambda: array("H"))

    def enter(self, start: int, end: int, goes_on: int) -> None:
        self.add(start, end)
        self.goes_on.append(goes_on)


@dataclass
class Onward:
    """The sets of targets to which calls in go on, by number. 0 is the empty one, and stands for those past the limits:
    such calls in count as if they went on to none."""

    sets: list[frozenset[str]] = field(default_factory=lambda: [frozenset()])
    _numbers: dict[frozenset[str], int] = field(default_factory=lambda: {frozenset(): 0})

    def number(self, targets: Iterable[str]) -> int:
        held = frozenset(targets)
        if held not in self._numbers:
            if len(held) > _TARGETS or len(self.sets) >= _SETS:
                return 0
            self._numbers[held] = len(self.sets)
            self.sets.append(held)
        return self._numbers[held]


@dataclass
class Outs:
    """The calls out of a group."""

    whole: Counter[Continued] = field(default_factory=Counter)
    began: dict[tuple[str, str], Times] = field(default_factory=dict)
    """By instance and version, the calls out that began a trace of their own."""
    unseen: int = 0
    by_request_id: Counter[str] = field(default_factory=Counter)
    """By RPC of the call in, those whose request id a call in of another trace bears."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Call in and call out, `trace/span`: those first by their text, so that the order of spans does not choose."""

    @property
    def begun(self) -> int:
        return sum(len(one.starts) for one in self.began.values())

    def begin(self, one: Fact, at: int) -> None:
        place = (one.instance, one.version)
        if place not in self.began:
            self.began[place] = Times()
        self.began[place].add(at, max(at, one.end))

    def show(self, example: tuple[str, str]) -> None:
        if len(self.examples) < EXAMPLES or example < self.examples[-1]:
            self.examples = sorted([*self.examples, example])[:EXAMPLES]

    @property
    def made(self) -> int:
        return self.begun + self.unseen + self.whole.total()


class _Request(NamedTuple):
    service: str
    request_id: str


class _Half(NamedTuple):
    trace_id: str
    span_id: str
    route: str
    group: Group | None


@dataclass
class Ledger:
    """Takes spans in any order; `close` once, then judge."""

    spans: int = 0
    traces: int = 0
    first: int = 0
    last: int = 0
    calls_in: defaultdict[Place, dict[str, Entered]] = field(default_factory=lambda: defaultdict(dict))
    onward: Onward = field(default_factory=Onward)
    outs: defaultdict[Group, Outs] = field(default_factory=lambda: defaultdict(Outs))
    called: dict[str, set[str]] = field(default_factory=dict)
    """Whom calls out are for, and who makes them."""
    orphans: Counter[str] = field(default_factory=Counter)
    skewed: Counter[str] = field(default_factory=Counter)
    spanned: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    versions: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """By service, when each of its versions began its first span, Unix ns."""
    _open: OpenTraces = field(default_factory=OpenTraces)
    _entered: OrderedDict[_Request, list[_Half]] = field(default_factory=OrderedDict)
    """The first call in by its ids, and the first one in another trace."""
    _left: OrderedDict[_Request, list[_Half]] = field(default_factory=OrderedDict)

    @classmethod
    def holding(cls, spans: int) -> Self:
        """With so many spans of open traces at the most, for whoever has the spans trace by trace."""
        return cls(_open=OpenTraces(spans))

    def take(self, spans: Iterable[Span]) -> None:
        self.take_facts(map(fact, spans))

    def take_facts(self, facts: Iterable[Fact]) -> None:
        for one in facts:
            self._count(one)
            for trace in self._open.take(one):
                self._close(trace)

    def take_trace(self, trace: list[Fact]) -> None:
        """All that a trace will have, where somebody else knows that it is closed; each span once."""
        for one in trace:
            self._count(one)
        self._close(trace)

    def handed_over(self) -> Ledger:
        """What was kept since the last time, to be merged. What is open, or waits for its other half, stays."""
        for request in [one for one in self._left if one in self._entered]:
            self._join(request)
        kept, fresh = Ledger(), Ledger()
        for name in _KEPT:
            setattr(kept, name, getattr(self, name))
            setattr(self, name, getattr(fresh, name))
        return kept

    def _count(self, one: Fact) -> None:
        self.spans += 1
        self.services[one.service] += 1
        if one.start > 0:
            self.first = min(self.first or one.start, one.start)
            self.last = max(self.last, one.end)
            self._release(one)

    def _release(self, one: Fact) -> None:
        seen = self.versions[one.service]
        if one.version and (one.version in seen or len(seen) < _VERSIONS):
            seen[one.version] = min(one.start, seen.get(one.version, one.start))

    def close(self) -> None:
        """The open traces have all that they will have."""
        for facts in self._open.rest():
            self._close(facts)
        for request in list(self._left):
            self._join(request)

    def _close(self, facts: list[Fact]) -> None:
        self.traces += 1
        trace = Trace(facts)
        calls = list(trace.calls_out())
        goes_on = _goes_on(calls, trace)
        for one in facts:
            above = trace.above(one)
            if one.kind in ENTRIES:
                self._enter(one, above, goes_on.get(one.span_id, ()))
            if one.parent_id:
                self._below(one, above)
        for call in calls:
            self._leave(call)

    def _enter(self, one: Fact, above: Fact | None, targets: Iterable[str]) -> None:
        routes = self.calls_in[Place(one.service, one.layer, one.instance)]
        if one.route not in routes:
            routes[one.route] = Entered()
        routes[one.route].enter(one.start, one.end, self.onward.number(targets))
        if one.layer is Layer.SDK:
            self._arrive(one, above)
        if one.request_id:
            request = _Request(one.service, one.request_id)
            halves = [*self._entered.get(request, ()), _Half(one.trace_id, one.span_id, one.route, None)]
            if oldest := _remember(self._entered, request, _firsts(halves)):
                self._join(oldest)
                del self._entered[oldest]

    def _arrive(self, one: Fact, above: Fact | None) -> None:
        outs = self.outs[Group(one.service, one.layer, "", arrives=True)]
        if not one.parent_id and not one.linked:
            outs.begin(one, one.start)
        elif not one.parent_id or (above and above.service == one.service):
            outs.whole[Continued(one.route, one.instance, one.version)] += 1

    def _below(self, one: Fact, above: Fact | None) -> None:
        if above is None:
            self.orphans[one.service] += 1
        elif one.kind in ENTRIES and above.service != one.service:
            self.spanned[one.service] += 1
            self.skewed[one.service] += one.start < above.start - SKEW_NS or one.start > above.end + SKEW_NS

    def _leave(self, call: CallOut) -> None:
        one = call.fact
        group = Group(one.service, one.layer, target_of(one))
        outs = self.outs[group]
        self.called.setdefault(one.target, set()).add(one.service)
        if call.begins is Begins.CALL_IN and call.cause:
            outs.whole[Continued(call.cause.route, one.instance, one.version)] += 1
        elif call.begins is Begins.ITSELF:
            outs.begin(one, call.began)
            self._begin(one, group)
        else:
            outs.unseen += 1

    def _begin(self, one: Fact, group: Group) -> None:
        if not one.request_id:
            return
        request = _Request(one.service, one.request_id)
        waiting = self._left.get(request, [])
        waiting.append(_Half(one.trace_id, one.span_id, one.route, group))
        ripe = request if len(waiting) >= _WAITING else _remember(self._left, request, waiting)
        if ripe:
            self._join(ripe)

    def _join(self, request: _Request) -> None:
        """Each call out that waits belongs to the first call in of another trace."""
        entered = self._entered.get(request, ())
        for left in self._left.pop(request, ()):
            met = next((one for one in entered if one.trace_id != left.trace_id), None)
            if met and left.group:
                outs = self.outs[left.group]
                outs.by_request_id[met.route] += 1
                outs.show((f"{met.trace_id}/{met.span_id}", f"{left.trace_id}/{left.span_id}"))


_KEPT: Final = tuple(one.name for one in fields(Ledger) if not one.name.startswith("_"))


def _goes_on(calls: Iterable[CallOut], trace: Trace) -> dict[str, set[str]]:
    """By a call in's span id the targets of the calls out that continue it; a sidecar's and its SDK's span alike."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for call in calls:
        at, target = call.cause, target_of(call.fact)
        while at and at.kind in ENTRIES and at.service == call.fact.service and target not in found[at.span_id]:
            found[at.span_id].add(target)
            at = trace.above(at)
    return found


def _firsts(entered: Sequence[_Half]) -> list[_Half]:
    """By their ids the first one, and the first one in another trace."""
    ranked = sorted(entered, key=lambda one: (one.trace_id, one.span_id))
    return [ranked[0], *[one for one in ranked if one.trace_id != ranked[0].trace_id][:1]]


def _remember(held: OrderedDict[_Request, _T], request: _Request, value: _T) -> _Request | None:
    """The oldest request, where it has to go for this one."""
    held[request] = value
    return next(iter(held)) if len(held) > _IDS else None
