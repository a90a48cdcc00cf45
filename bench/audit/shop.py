"""A seeded shop of services behind sidecars: which of them cut traces is known, all else is disturbance.

Every service calls later ones only, so a minute of traffic is made a service at a time, whole columns at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grpc_tracing.audit.facts import Fact, Layer
from grpc_tracing.spans.model import Kind

_MS, _SECOND = 1_000_000, 1_000_000_000
BEGIN = 1_700_000_000 * _SECOND
RPCS = ("Get", "List", "Watch")
"""The last one is a stream."""
_NONE = -1
_WIDE = 16 * "0"
_Ints = NDArray[np.int64]
_Column = NDArray[Any]


class Cut(StrEnum):
    """What a cutter cuts."""

    ALL = "all RPCs"
    RPC = "one RPC"
    STREAMS = "streams only"
    INSTANCE = "one instance of three"
    VERSION = "one version"
    SOME = "some calls of all RPCs"


@dataclass(frozen=True)
class Scene:
    """`sampling` is a share; `ids` the share of cutters that pass request ids on; `rough` adds what production has."""

    name: str
    services: int = 50
    cutters: int = 8
    jobs: int = 10
    rate: float = 200.0
    seconds: float = 60.0
    sampling: float = 1.0
    ids: float = 0.0
    rough: bool = False
    busy: float = 0.0
    """Where above 0, a chain of pods that hold each call for 250 ms, and the share of its calls that a cutter cuts."""


class Instance(NamedTuple):
    name: str
    version: str
    clock: int


@dataclass
class Member:
    """A service: whom each of its RPCs calls, and what it cuts."""

    name: str
    instances: list[Instance]
    calls: dict[str, list[int]]
    cut: Cut | None = None
    rpc: str = ""
    passes_ids: bool = False
    job: int | None = None
    """Whom its job calls."""


class Columns(NamedTuple):
    """Calls, a row each: who takes them where, in which trace, under which span; 0 where no span is above."""

    instance: _Column
    rpc: _Column
    trace: _Column
    parent: _Column
    sampled: _Column
    request: _Column

    @property
    def rows(self) -> int:
        return len(self.rpc)

    def at(self, rows: _Column) -> Columns:
        return Columns(*(column[rows] for column in self))


@dataclass
class Step:
    """Calls that a service makes at one place because of the calls in of `rows`, or by its job."""

    member: int
    rows: _Ints
    instance: _Ints
    client: _Ints
    context: Columns
    """Of the client spans; their rows are those of the calls that they become."""
    target: int
    wire: _Ints
    first: int = 0
    """The row in the target's calls of the first of them."""
    at: _Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    length: _Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def taken(self) -> slice:
        return slice(self.first, self.first + len(self.client))


@dataclass
class Taken:
    """All calls into one service."""

    calls: Columns
    span: _Ints
    start: _Ints
    length: _Ints
    steps: list[tuple[int, Step]] = field(default_factory=list)


@dataclass
class Shop:
    scene: Scene
    seed: int
    members: list[Member] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    cut_calls: dict[str, int] = field(default_factory=dict)


class Traffic:
    """What happens in a shop: who calls whom first, then how long it takes, then when it was."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.scene = shop, shop.scene
        self.chance = np.random.default_rng(shop.seed)
        self.coming: list[list[Step]] = [[] for _ in shop.members]
        self.taken: list[Taken] = []
        self.steps: list[Step] = []
        self.jobs: list[Step] = []

    def run(self) -> None:
        self._jobs()
        for index in range(len(self.shop.members)):
            self._take(index)
        for index in reversed(range(len(self.shop.members))):
            self._last(index)
        for step in self.jobs:
            self._arrive(step)
        for taken in self.taken:
            self._date(taken)

    def ids(self, count: int) -> _Ints:
        return self.chance.integers(1, 1 << 62, count)

    def pauses(self, count: int) -> _Column:
        return (self.chance.exponential(3 * _MS, count) + 200_000).astype(np.int64)

    def fresh(self, count: int) -> Columns:
        """Contexts of traces that begin here."""
        nothing = np.zeros(count, np.int64)
        sampled = self.chance.random(count) < self.scene.sampling
        return Columns(nothing, nothing, self.ids(count), nothing, sampled, self.ids(count))

    def _jobs(self) -> None:
        """A timer or a queue: of each third a strict timer, one with jitter, a random stream of work."""
        for index, member in enumerate(self.shop.members):
            if member.job is not None:
                at = self._moments(self.chance.uniform(0.5, 20), int(self.chance.integers(3)))
                self.jobs.append(self._step(index, None, np.zeros(len(at), np.int64), self.fresh(len(at)), member.job))
                self.jobs[-1].at = at

    def _moments(self, rate: float, kind: int) -> _Ints:
        count = int(self.scene.seconds * rate * 1.5) + 20
        gaps = (
            self.chance.exponential(1 / rate, count)
            if kind == 0
            else self.chance.uniform(0.8, 1.2 if kind == 1 else 0.8, count) / rate
        )
        moments = np.cumsum(gaps)
        return BEGIN + (moments[moments < self.scene.seconds] * _SECOND).astype(np.int64)

    def _step(self, index: int, rows: _Ints | None, instance: _Ints, context: Columns, target: int) -> Step:
        """Without rows of calls in it is a job's."""
        count = len(instance)
        client = self.ids(count)
        taker = self.shop.members[target]
        becomes = context._replace(
            instance=self.chance.integers(len(taker.instances), size=count),
            rpc=np.zeros(count, np.int64) if rows is None else self.chance.integers(len(RPCS), size=count),
        )
        wire = self.chance.integers(100_000, 600_000, count)
        step = Step(index, np.zeros(0, np.int64) if rows is None else rows, instance, client, becomes, target, wire)
        self.coming[target].append(step)
        self.steps.append(step)
        return step

    def _edge(self) -> Columns:
        count = self.chance.poisson(self.scene.rate * self.scene.seconds)
        instances = len(self.shop.members[0].instances)
        rpcs = self.chance.integers(len(RPCS), size=count)
        return self.fresh(count)._replace(instance=self.chance.integers(instances, size=count), rpc=rpcs)

    def _take(self, index: int) -> None:
        """The calls into a service, and those that it makes because of them."""
        parts, rows = [self._edge()] if index == 0 else [], 0
        for step in self.coming[index]:
            step.first = rows
            rows += len(step.client)
            parts.append(step.context._replace(parent=step.client))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else []
        calls = Columns(*columns) if columns else self.fresh(0)
        begin = BEGIN + np.sort(self.chance.integers(0, int(self.scene.seconds * _SECOND), calls.rows))
        taken = Taken(calls, self.ids(calls.rows), begin, np.zeros(calls.rows, np.int64))
        self.taken.append(taken)
        for number, rpc in enumerate(RPCS):
            rows_of_rpc = np.flatnonzero(calls.rpc == number)
            for target in self.shop.members[index].calls[rpc]:
                context = self._onward(index, taken, rows_of_rpc)
                step = self._step(index, rows_of_rpc, calls.instance[rows_of_rpc], context, target)
                taken.steps.append((number, step))

    def _onward(self, index: int, taken: Taken, rows: _Ints) -> Columns:
        member, calls = self.shop.members[index], taken.calls.at(rows)
        calls = calls._replace(parent=taken.span[rows])
        cut = self._cut(member, calls)
        self.shop.cut_calls[member.name] = self.shop.cut_calls.get(member.name, 0) + int(cut.sum())
        fresh = self.fresh(len(rows))
        if member.passes_ids:  # the id carries Envoy's decision
            fresh = fresh._replace(sampled=calls.sampled, request=calls.request)
        return Columns(*(np.where(cut, new, old) for new, old in zip(fresh, calls, strict=True)))

    def _cut(self, member: Member, calls: Columns) -> Any:
        match member.cut:
            case None:
                return np.zeros(calls.rows, bool)
            case Cut.ALL:
                return np.ones(calls.rows, bool)
            case Cut.INSTANCE:
                return calls.instance == 0
            case Cut.VERSION:
                return np.array([one.version == "v2" for one in member.instances])[calls.instance]
            case Cut.SOME:
                return self.chance.random(calls.rows) < self.scene.busy
            case Cut.RPC | Cut.STREAMS:
                return calls.rpc == RPCS.index(member.rpc)

    def _last(self, index: int) -> None:
        """How long each call lasts, once it is known how long those below it do; a step's `at` is from its start."""
        taken = self.taken[index]
        count = taken.calls.rows
        now = self.pauses(count) + self._held(index, count)
        latest = np.zeros(count, np.int64)
        forgets = np.zeros(count, bool) if not self.scene.rough else self.chance.random(count) < 0.02
        for rpc, step in taken.steps:
            rows = step.rows
            step.at = now[rows].copy()
            ended = step.at + step.length
            latest[rows] = np.maximum(latest[rows], ended)
            at_once = forgets[rows] | (RPCS[rpc] == "Watch")
            now[rows] = np.where(at_once, step.at, ended) + self.pauses(len(rows))
        taken.length = np.where(forgets, now, np.maximum(now, latest) + self.pauses(count))
        taken.length += self._held(index, count)
        for step in self.coming[index]:
            step.length = taken.length[step.taken] + 2 * step.wire

    def _held(self, index: int, count: int) -> _Ints:
        """In a busy shop those in the middle hold a call before and after the one that it makes."""
        middle = self.scene.busy and self.shop.members[index].calls["Get"] and index
        return self.chance.integers(0, 250 * _MS, count) if middle else np.zeros(count, np.int64)

    def _date(self, taken: Taken) -> None:
        for _, step in taken.steps:
            step.at = taken.start[step.rows] + step.at
            self._arrive(step)

    def _arrive(self, step: Step) -> None:
        self.taken[step.target].start[step.taken] = step.at + step.wire


class Part(NamedTuple):
    """Sampled spans of one kind that one member left, a row each: `target` is whom a client's are for, else `_NONE`;
    times are those of the true clock."""

    member: int
    kind: Kind
    target: int
    trace: _Column
    span: _Column
    parent: _Column
    instance: _Column
    rpc: _Column
    request: _Column
    start: _Column
    end: _Column


class Spans:
    """The sampled spans of a shop, in the order in which they end, late and out of order where the scene is rough."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic, self.shop = traffic, traffic.shop
        self.parts: list[Part] = []
        for index, taken in enumerate(traffic.taken):
            self._leave(index, Kind.SERVER, taken.calls, taken.calls.instance, taken.span, taken.start, taken.length)
        for step in traffic.steps:
            self._called(step)

    def order(self) -> _Ints:
        """Of the rows of all parts, one part behind the other."""
        order = np.argsort(np.concatenate([part.end for part in self.parts]), kind="stable")
        if not self.shop.scene.rough:
            return order
        late = np.arange(len(order)) + self.traffic.chance.integers(0, 5_000, len(order))
        return order[np.argsort(late, kind="stable")]

    def facts(self) -> list[Fact]:
        facts = [fact for part in self.parts for fact in self._facts(part)]
        return [facts[n] for n in self.order().tolist()]

    def _facts(self, part: Part) -> Iterator[Fact]:
        member = self.shop.members[part.member]
        target = "" if part.target == _NONE else self.shop.members[part.target].name
        routes = [f"shop.{target or member.name}/{rpc}" for rpc in RPCS]
        ids = (_hex(column) for column in (part.trace, part.span, part.parent, part.request))
        places = (column.tolist() for column in (part.instance, part.rpc, part.start, part.end))
        for trace, own, above, request, at, rpc, start, end in zip(*ids, *places, strict=True):
            place = member.instances[at]
            yield Fact(
                trace_id=_WIDE + trace,
                span_id=own,
                parent_id=above if above != _WIDE else "",
                kind=part.kind,
                service=member.name,
                instance=place.name,
                version=place.version,
                layer=Layer.SIDECAR,
                route=routes[rpc],
                target=target,
                start=start + place.clock,
                end=end + place.clock,
                request_id=request,
            )

    def _called(self, step: Step) -> None:
        context = step.context
        self._leave(step.member, Kind.CLIENT, context, step.instance, step.client, step.at, step.length, step.target)
        if self.shop.scene.rough:
            again = np.flatnonzero(self.traffic.chance.random(len(step.client)) < 0.02)
            self._leave(
                step.member,
                Kind.CLIENT,
                context.at(again),
                step.instance[again],
                self.traffic.ids(len(again)),
                step.at[again] + step.length[again],
                self.traffic.pauses(len(again)),
                step.target,
            )

    def _leave(  # noqa: PLR0917 - positions are a span's columns
        self,
        index: int,
        kind: Kind,
        context: Columns,
        instance: _Ints,
        span: _Ints,
        start: _Ints,
        length: _Ints,
        target: int = _NONE,
    ) -> None:
        kept = context.sampled
        if self.shop.scene.rough:
            kept = kept & (self.traffic.chance.random(len(kept)) >= 0.005)
        rows = np.flatnonzero(kept)
        columns = (context.trace, span, context.parent, instance, context.rpc, context.request, start, start + length)
        if len(rows):
            self.parts.append(Part(index, kind, target, *(column[rows] for column in columns)))


def _hex(column: _Ints) -> list[str]:
    """16 digits each, by one conversion: a shop has a million of them."""
    text = column.astype(">i8").tobytes().hex()
    return [text[at : at + 16] for at in range(0, len(text), 16)]


def build(scene: Scene, seed: int) -> Shop:
    """A shop after its minute of traffic."""
    spans = simulate(scene, seed)
    spans.shop.facts = spans.facts()
    return spans.shop


def simulate(scene: Scene, seed: int) -> Spans:
    """The spans of a shop's minute of traffic, as columns."""
    chance = random.Random(seed)  # noqa: S311
    shop = Shop(scene, seed)
    shop.members = [_busy(index) for index in range(7)] if scene.busy else _members(scene, chance)
    if scene.busy:
        _cut_some(shop)
    else:
        _choose_cutters(shop, chance)
        for member in chance.sample(shop.members[1:], scene.jobs):
            member.job = chance.randrange(len(shop.members) * 3 // 4, len(shop.members))
    traffic = Traffic(shop)
    traffic.run()
    return Spans(traffic)


def _busy(index: int) -> Member:
    """One that four pods stand behind, which call two more."""
    name = f"s{index:02}"
    targets = {0: [1, 2, 3, 4], 1: [5], 2: [6], 3: [5], 4: [6]}.get(index, [])
    return Member(name, [Instance(f"{name}-0", "v1", 0)], dict.fromkeys(RPCS, targets))


def _cut_some(shop: Shop) -> None:
    for member in shop.members[1:3]:
        member.cut = Cut.SOME


def _members(scene: Scene, chance: random.Random) -> list[Member]:
    return [_member(scene, chance, index) for index in range(scene.services)]


def _member(scene: Scene, chance: random.Random, index: int) -> Member:
    """Each calls later ones only; the last quarter calls nobody."""
    name, count = f"s{index:02}", scene.services
    instances = [Instance(f"{name}-{n}", "v2" if n == 2 else "v1", _clock(scene, chance)) for n in range(3)]
    later = range(max(index + 1, count // 6 * (1 + index * 6 // count)), min(count, index + 1 + count // 2))
    calls: dict[str, list[int]] = {rpc: [] for rpc in RPCS}
    if index < count * 3 // 4 and len(later) > 2:
        for rpc in RPCS:
            most = 8 if index == 0 else 2
            calls[rpc] = chance.sample(later, min(len(later), chance.randint(1, most)))
    if scene.rough and index == 0:
        calls["List"] = [chance.choice(later) for _ in range(20)]
    return Member(name, instances, calls)


def _clock(scene: Scene, chance: random.Random) -> int:
    """How far a pod's clock is off, ns."""
    return chance.randrange(-500 * _MS, 500 * _MS) if scene.rough else 0


def _choose_cutters(shop: Shop, chance: random.Random) -> None:
    """Among those that calls reach and that call others; each of the five kinds at least once where there are five."""
    reached: dict[int, None] = {0: None}
    for index, member in enumerate(shop.members):
        if index in reached:
            reached.update((target, None) for calls in member.calls.values() for target in calls)
    able = [shop.members[n] for n in reached if n and any(shop.members[n].calls.values())]
    kinds = [Cut.ALL, Cut.RPC, Cut.STREAMS, Cut.INSTANCE, Cut.VERSION]
    passing = [n < round(shop.scene.ids * shop.scene.cutters) for n in range(shop.scene.cutters)]
    chance.shuffle(passing)
    for number, member in enumerate(chance.sample(able, min(len(able), shop.scene.cutters))):
        member.cut = kinds[number % len(kinds)]
        member.rpc = "Watch" if member.cut is Cut.STREAMS else "Get"
        member.passes_ids = passing[number]


def cutters(shop: Shop, least: int = 1) -> Iterator[Member]:
    """Those that cut at least so many calls."""
    return (one for one in shop.members if one.cut and shop.cut_calls.get(one.name, 0) >= least)
