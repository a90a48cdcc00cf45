"""Calls counted once each, though windows overlap: counters that only grow, under a bounded number of names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit, Service
from grpc_tracing.printable import one_line
from grpc_tracing.watch.names import OTHER
from grpc_tracing.watch.window import Step

SERVICES: Final = 1_000
"""That have series of their own."""
ROUTES: Final = 5_000
"""Of cut calls, over all services."""
_LONGEST: Final = 200


class CutBy(NamedTuple):
    """Where calls are cut: `where` is `in`, `inside`, `out`, or empty where only sidecars saw it."""

    service: str
    route: str
    where: str


@dataclass
class Counts:
    """Since the start. Names are as labels show them."""

    calls_out: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    cut: Counter[CutBy] = field(default_factory=Counter)

    def take(self, step: Step) -> None:
        """The calls out of a step, once it is whole: those that a sidecar saw, else those of the SDK."""
        for service, (made, begun) in _made(step.evidence).items():
            name = self.name(service)
            self.calls_out[name] += made
            self.begun[name] += begun

    def judge(self, audit: Audit, steps: Sequence[Step]) -> None:
        """The cut calls of all steps that were not counted yet: those of an older one count once it shows."""
        for service in audit.services:
            for target, by_route in _cut(service).items():
                more = sum(_uncounted(steps, service.service, target, by_route.total()))
                for route, count in zip(by_route, _spread(more, list(by_route.values())), strict=True):
                    self.cut[self._key(service, route)] += count

    def name(self, service: str) -> str:
        """As a label; beyond so many services it is `OTHER`."""
        shown = label(service)
        return shown if shown in self.calls_out or len(self.calls_out) < SERVICES else OTHER

    def _key(self, service: Service, route: str) -> CutBy:
        key = CutBy(self.name(service.service), label(route), service.where or "")
        return key if key in self.cut or len(self.cut) < ROUTES else CutBy(OTHER, OTHER, "")


def label(text: str) -> str:
    """Safe to show, and short."""
    return one_line(text)[:_LONGEST]


def _made(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """By service its calls out, and those of them that begin traces."""
    by_layer: defaultdict[str, dict[Layer, Counter[bool]]] = defaultdict(dict)
    for group, outs in ledger.outs.items():
        if not group.arrives:
            counts = by_layer[group.service].setdefault(group.layer, Counter())
            counts[True] += outs.begun
            counts[False] += outs.made - outs.begun
    chosen = {service: layers.get(Layer.SIDECAR) or layers[Layer.SDK] for service, layers in by_layer.items()}
    return {service: (counts.total(), counts[True]) for service, counts in chosen.items()}


def _cut(service: Service) -> dict[str, Counter[str]]:
    """By target the cut calls of each RPC."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for route in service.routes:
        if route.cut:
            found[route.out][route.called] += route.cut
    return found


def _uncounted(steps: Sequence[Step], service: str, target: str, cut: int) -> Iterator[int]:
    """Of so many cut calls of all steps, which lie where calls begin traces, those of steps that were not counted yet.

    A step counts once: were it counted anew as the estimate moves, the highest of its estimates would stand.
    """
    begun = [_begun(step.evidence, service, target) for step in steps]
    for step, share in zip(steps, _spread(cut, begun), strict=True):
        if (service, target) not in step.counted:
            step.counted.add((service, target))
            yield share if step.counts else 0


def _begun(ledger: Ledger, service: str, target: str) -> int:
    """A target that is empty stands for the calls into an SDK."""
    return sum(
        outs.begun
        for group, outs in ledger.outs.items()
        if group.service == service and group.target == target and group.arrives == (not target)
    )


def _spread(count: int, weights: Sequence[int]) -> list[int]:
    """So many whole things by weight; together they are all."""
    total = sum(weights)
    ends = [round(count * sum_ / total) for sum_ in accumulate(weights, initial=0)] if total else [0, *weights]
    return [end - start for start, end in pairwise(ends)]
