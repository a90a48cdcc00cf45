"""What is kept of the spans read: counts, and for the permutation test 16 bytes a call in and 8 a trace begun."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from grpc_tracing.audit.facts import Fact, Layer, fact
from grpc_tracing.audit.traces import Begins, CallOut, OpenTraces, calls_out
from grpc_tracing.spans.model import Span

_IDS: Final = 200_000
"""Request ids that wait for their other half."""
_EXAMPLES: Final = 3
_SKEW_NS: Final = 1_000_000
_T = TypeVar("_T")


class Place(NamedTuple):
    """Where spans come from: one instance's proxy or SDK."""

    service: str
    layer: Layer
    instance: str


class Group(NamedTuple):
    """Calls out of one service, as one layer sees them, to one target."""

    service: str
    layer: Layer
    target: str


class Continued(NamedTuple):
    """Which calls out continue a call in: of which RPC, in which instance and version."""

    route: str
    instance: str
    version: str


@dataclass
class CallsIn:
    """Starts and ends of one RPC at one place, ns."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))


@dataclass
class Outs:
    """The calls out of a group."""

    whole: Counter[Continued] = field(default_factory=Counter)
    moments: dict[tuple[str, str], array[int]] = field(default_factory=dict)
    """By instance and version, when calls out began a trace of their own, ns."""
    unseen: int = 0
    by_request_id: Counter[str] = field(default_factory=Counter)
    """By RPC of the call in, those whose request id a call in of another trace bears."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Call in and call out, `trace/span`."""

    @property
    def begun(self) -> int:
        return sum(map(len, self.moments.values()))

    @property
    def made(self) -> int:
        return self.begun + self.unseen + self.whole.total()


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
    calls_in: dict[Place, dict[str, CallsIn]] = field(default_factory=dict)
    outs: dict[Group, Outs] = field(default_factory=dict)
    orphans: Counter[str] = field(default_factory=Counter)
    skewed: Counter[str] = field(default_factory=Counter)
    spanned: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    _open: OpenTraces = field(default_factory=OpenTraces)
    _entered: OrderedDict[tuple[str, str], _Half] = field(default_factory=OrderedDict)
    _left: OrderedDict[tuple[str, str], list[_Half]] = field(default_factory=OrderedDict)

    def take(self, spans: Iterable[Span]) -> None:
        for span in spans:
            self.take_fact(fact(span))

    def take_fact(self, one: Fact) -> None:
        self.spans += 1
        self.services[one.service] += 1
        if one.start > 0:
            self.first = min(self.first or one.start, one.start)
            self.last = max(self.last, one.end)
        for trace in self._open.take(one):
            self._close(trace)

    def close(self) -> None:
        """The open traces have all that they will have."""
        for trace in self._open.rest():
            self._close(trace)

    def _close(self, trace: list[Fact]) -> None:
        self.traces += 1
        by_id = {one.span_id: one for one in trace}
        for one in trace:
            if one.enters:
                self._enter(one)
            if one.parent_id:
                self._below(one, by_id.get(one.parent_id))
        for call in calls_out(trace):
            self._leave(call)

    def _enter(self, one: Fact) -> None:
        routes = self.calls_in.setdefault(Place(one.service, one.layer, one.instance), {})
        calls = routes.setdefault(one.route, CallsIn())
        calls.starts.append(one.start)
        calls.ends.append(one.end)
        if one.request_id:
            half = _Half(one.trace_id, one.span_id, one.route, None)
            _remember(self._entered, (one.service, one.request_id), half)
            for left in self._left.pop((one.service, one.request_id), ()):
                self._joined(half, left)

    def _below(self, one: Fact, above: Fact | None) -> None:
        if above is None:
            self.orphans[one.service] += 1
        elif one.enters and above.service != one.service:
            self.spanned[one.service] += 1
            self.skewed[one.service] += one.start < above.start - _SKEW_NS or one.start > above.end + _SKEW_NS

    def _leave(self, call: CallOut) -> None:
        one = call.fact
        group = Group(one.service, one.layer, one.target or one.route)
        outs = self.outs.setdefault(group, Outs())
        if call.begins is Begins.CALL_IN and call.cause:
            outs.whole[Continued(call.cause.route, one.instance, one.version)] += 1
        elif call.begins is Begins.ITSELF:
            outs.moments.setdefault((one.instance, one.version), array("q")).append(call.began)
            self._begin(one, group)
        else:
            outs.unseen += 1

    def _begin(self, one: Fact, group: Group) -> None:
        if not one.request_id:
            return
        left = _Half(one.trace_id, one.span_id, one.route, group)
        if entered := self._entered.get((one.service, one.request_id)):
            self._joined(entered, left)
        else:
            waiting = self._left.get((one.service, one.request_id), [])
            _remember(self._left, (one.service, one.request_id), [*waiting, left])

    def _joined(self, entered: _Half, left: _Half) -> None:
        if entered.trace_id == left.trace_id or left.group is None:
            return
        outs = self.outs[left.group]
        outs.by_request_id[entered.route] += 1
        if len(outs.examples) < _EXAMPLES:
            outs.examples.append((f"{entered.trace_id}/{entered.span_id}", f"{left.trace_id}/{left.span_id}"))


def _remember(held: OrderedDict[tuple[str, str], _T], key: tuple[str, str], value: _T) -> None:
    held[key] = value
    if len(held) > _IDS:
        held.popitem(last=False)
