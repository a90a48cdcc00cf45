"""A seeded shop of services behind sidecars: which of them cut traces is known, all else is disturbance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from grpc_tracing.audit.facts import Fact, Layer
from grpc_tracing.spans.model import Kind

_MS, _SECOND = 1_000_000, 1_000_000_000
_BEGIN = 1_700_000_000 * _SECOND
RPCS = ("Get", "List", "Watch")
"""The last one is a stream."""


class Cut(StrEnum):
    """What a cutter cuts."""

    ALL = "all RPCs"
    RPC = "one RPC"
    STREAMS = "streams only"
    INSTANCE = "one instance of three"
    VERSION = "one version"


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
    was_called: int = 0

    def cuts(self, rpc: str, instance: Instance) -> bool:
        match self.cut:
            case None:
                return False
            case Cut.ALL:
                return True
            case Cut.INSTANCE:
                return instance is self.instances[0]
            case Cut.VERSION:
                return instance.version == "v2"
            case Cut.RPC | Cut.STREAMS:
                return rpc == self.rpc


class Context(NamedTuple):
    """What goes with a call; `trace` is empty where nothing was forwarded."""

    trace: str
    parent: str
    sampled: bool
    request_id: str


@dataclass
class Shop:
    scene: Scene
    chance: random.Random
    members: list[Member] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    cut_calls: dict[str, int] = field(default_factory=dict)

    def id(self, digits: int) -> str:
        return f"{self.chance.getrandbits(4 * digits):0{digits}x}"

    def fresh(self, request_id: str = "") -> Context:
        sampled = self.chance.random() < self.scene.sampling
        return Context(self.id(32), "", sampled, request_id or self.id(16))

    def run(self) -> None:
        now, until = 0.0, self.scene.seconds
        while (now := now + self.chance.expovariate(self.scene.rate)) < until:
            self.serve(0, self.chance.choice(RPCS), _BEGIN + int(now * _SECOND), self.fresh())
        for member in self.chance.sample(self.members[1:], self.scene.jobs):
            self.job(member)

    def job(self, member: Member) -> None:
        """A timer or a queue: of each third a strict timer, one with jitter, a random stream of work."""
        rate, kind = self.chance.uniform(0.5, 20), self.chance.randrange(3)
        target = self.chance.randrange(len(self.members) * 3 // 4, len(self.members))
        now = 0.0
        while now < self.scene.seconds:
            gap = self.chance.expovariate(rate) if kind == 0 else self.chance.uniform(0.8, 1.2 if kind == 1 else 0.8)
            now += gap if kind == 0 else gap / rate
            instance = member.instances[0]
            self.call(member, instance, target, "Get", _BEGIN + int(now * _SECOND), self.fresh())

    def serve(self, index: int, rpc: str, at: int, context: Context) -> int:
        """One call in and all that follows; returns when it ends."""
        member = self.members[index]
        member.was_called += 1
        instance = self.chance.choice(member.instances)
        span = self.id(16)
        inner = context._replace(parent=span)
        now, ends = at + self.pause(), [at]
        forgets = self.scene.rough and self.chance.random() < 0.02
        for target in member.calls[rpc]:
            onward = self.onward(member, instance, rpc, inner)
            ended = self.call(member, instance, target, self.chance.choice(RPCS), now, onward)
            ends.append(ended)
            now = now + self.pause() if rpc == "Watch" or forgets else ended + self.pause()
        end = now if forgets else max(now, *ends) + self.pause()
        self.leave(member, instance, Kind.SERVER, context, span, rpc, "", at, end)
        return end

    def onward(self, member: Member, instance: Instance, rpc: str, inner: Context) -> Context:
        if not member.cuts(rpc, instance):
            return inner
        self.cut_calls[member.name] = self.cut_calls.get(member.name, 0) + 1
        if not member.passes_ids:
            return self.fresh()
        return Context(self.id(32), "", inner.sampled, inner.request_id)  # the id carries Envoy's decision

    def call(self, member: Member, instance: Instance, target: int, rpc: str, at: int, context: Context) -> int:  # noqa: PLR0917
        span, wire = self.id(16), self.chance.randrange(100_000, 600_000)
        end = self.serve(target, rpc, at + wire, context._replace(parent=span)) + wire
        called = self.members[target].name
        self.leave(member, instance, Kind.CLIENT, context, span, rpc, called, at, end)
        if self.scene.rough and self.chance.random() < 0.02:
            again = self.id(16)
            self.leave(member, instance, Kind.CLIENT, context, again, rpc, called, end, end + self.pause())
        return end

    def pause(self) -> int:
        return int(self.chance.expovariate(1 / 3) * _MS) + 200_000

    def leave(  # noqa: PLR0917 - positions are a span's columns
        self,
        member: Member,
        instance: Instance,
        kind: Kind,
        context: Context,
        span: str,
        rpc: str,
        target: str,
        start: int,
        end: int,
    ) -> None:
        if not context.sampled or (self.scene.rough and self.chance.random() < 0.005):
            return
        self.facts.append(
            Fact(
                trace_id=context.trace,
                span_id=span,
                parent_id=context.parent,
                kind=kind,
                service=member.name,
                instance=instance.name,
                version=instance.version,
                layer=Layer.SIDECAR,
                route=f"shop.{target or member.name}/{rpc}",
                target=target,
                start=start + instance.clock,
                end=end + instance.clock,
                request_id=context.request_id,
            )
        )


def build(scene: Scene, seed: int) -> Shop:
    """A shop after its minute of traffic, its spans in random order where the scene is rough."""
    chance = random.Random(seed)  # noqa: S311
    shop = Shop(scene, chance)
    shop.members = [_member(scene, chance, index) for index in range(scene.services)]
    _choose_cutters(shop)
    shop.run()
    if scene.rough:
        _disorder(shop)
    return shop


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


def _choose_cutters(shop: Shop) -> None:
    """Among those that calls reach and that call others; each of the five kinds at least once where there are five."""
    reached: dict[int, None] = {0: None}
    for index, member in enumerate(shop.members):
        if index in reached:
            reached.update((target, None) for calls in member.calls.values() for target in calls)
    able = [shop.members[n] for n in reached if n and any(shop.members[n].calls.values())]
    for number, member in enumerate(shop.chance.sample(able, min(len(able), shop.scene.cutters))):
        member.cut = tuple(Cut)[number % len(Cut)]
        member.rpc = "Watch" if member.cut is Cut.STREAMS else "Get"
        member.passes_ids = shop.chance.random() < shop.scene.ids


def _disorder(shop: Shop) -> None:
    """Spans come late and out of order, within a few thousand."""
    keyed = [(n + shop.chance.randrange(5_000), n, fact) for n, fact in enumerate(shop.facts)]
    shop.facts = [fact for _, _, fact in sorted(keyed, key=lambda one: one[:2])]


def cutters(shop: Shop, least: int = 1) -> Iterator[Member]:
    """Those that cut at least so many calls."""
    return (one for one in shop.members if one.cut and shop.cut_calls.get(one.name, 0) >= least)
