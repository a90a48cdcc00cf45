"""Spans of many kinds, and what the streaming ledger makes of them: every engine has to say the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from bench.audit.shop import Scene, build
from grpc_tracing.audit.facts import Fact, Layer, fact
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.spans.model import Kind
from tests.audit.test_malformed import CASES
from tests.audit.traffic import BEGIN, MS, Traffic

_SHOP: Final = Scene("100 %", services=20, cutters=5, jobs=4, rate=40, seconds=6)
SHOPS: Final = {
    "100 %": _SHOP,
    "10 %": replace(_SHOP, sampling=0.1, rate=200),
    "rough": replace(_SHOP, rough=True),
    "ids of half": replace(_SHOP, ids=0.5),
    "ids of all": replace(_SHOP, ids=1.0, sampling=0.5),
    "busy": replace(_SHOP, busy=0.2, services=7, jobs=0),
}


def streamed(facts: Iterable[Fact]) -> Ledger:
    ledger = Ledger()
    ledger.take_facts(facts)
    ledger.close()
    return ledger


def text(ledger: Ledger) -> str:
    """All numbers of the result."""
    return json.dumps(judge(ledger).document(), indent=1)


def held(ledger: Ledger) -> dict[str, Any]:
    """All that a ledger holds, once it is judged and so in order."""
    judge(ledger)
    return {
        "counts": (ledger.spans, ledger.traces, ledger.first, ledger.last),
        "services": dict(ledger.services),
        "versions": {name: found for name, found in ledger.versions.items() if found},
        "called": ledger.called,
        "broken": [
            {name: number for name, number in one.items() if number}
            for one in (ledger.orphans, ledger.spanned, ledger.skewed)
        ],
        "in": {
            (place, route): (*map(list, (one.starts, one.ends)), [sorted(ledger.onward.sets[n]) for n in one.goes_on])
            for place, routes in ledger.calls_in.items()
            for route, one in routes.items()
        },
        "out": {
            group: (
                dict(outs.whole),
                {place: (list(times.starts), list(times.ends)) for place, times in outs.began.items()},
                outs.unseen,
                dict(outs.by_request_id),
                outs.examples,
            )
            for group, outs in ledger.outs.items()
        },
    }


def shuffled(facts: Sequence[Fact], seed: int = 7) -> list[Fact]:
    made = list(facts)
    random.Random(seed).shuffle(made)  # noqa: S311
    return made


def malformed() -> list[Fact]:
    """All cases, each with ids and a service of its own."""
    facts: list[Fact] = []
    for number, (spans, _, _) in enumerate(CASES.values()):
        for span in spans:
            one = fact(replace(span, service=f"{span.service}-{number}"))
            facts.append(one._replace(trace_id=one.trace_id[:-3] + f"{number:03x}"))
    return facts


def layered() -> list[Fact]:
    """Sidecars and SDKs of one service with spans of its own between, a link, a job, a circle, Zipkin's shared ids."""
    chance = random.Random(3)  # noqa: S311
    return [one for number in range(120) for one in _layers(number, chance)]


def _layers(number: int, chance: random.Random) -> Iterable[Fact]:
    trace, begin = f"{number:032x}", BEGIN + chance.randrange(10_000) * MS
    narrow = trace if number % 2 else trace[16:]

    def one(  # noqa: PLR0917 - positions are the columns
        span: str, parent: str, kind: Kind, layer: Layer, target: str = "", service: str = "cart"
    ) -> Fact:
        at = begin + int(span, 16) * MS
        instance = f"{service}-{number % 3}"
        route = f"shop.{service}/Get"
        ids = (narrow if layer is Layer.SDK else trace, span.zfill(16), parent and parent.zfill(16))
        long = at + 50 * MS
        return Fact(*ids, kind, service, instance, f"v{number % 2}", layer, route, target, at, long, f"{number % 50:x}")

    yield one("1", "", Kind.CLIENT, Layer.SIDECAR, "cart", "shop")
    yield one("1", "", Kind.SERVER, Layer.SIDECAR)  # shares its id with the call out above it
    yield one("2", "1" if number % 5 else "", Kind.SERVER, Layer.SDK)
    for depth in range(3, 3 + number % 9):
        yield one(f"{depth:x}", f"{depth - 1:x}", Kind.INTERNAL, Layer.SDK)
    last = f"{2 + number % 9:x}"
    yield one("20", last, Kind.CLIENT, Layer.SDK, "stock")
    yield one("21", "20" if number % 7 else "", Kind.CLIENT, Layer.SIDECAR, "stock")
    yield one("21", "20", Kind.SERVER, Layer.SIDECAR, service="stock")
    yield one("30", "", Kind.INTERNAL, Layer.SDK)._replace(linked=number % 2 == 0, trace_id=f"f{number:031x}")
    yield one("31", "30", Kind.PRODUCER, Layer.SDK, "mail")._replace(trace_id=f"f{number:031x}")
    yield one("40", "", Kind.CONSUMER, Layer.SDK, service="mail")._replace(linked=number % 3 == 0)
    yield one("50", "51", Kind.CLIENT, Layer.SDK, "ring")
    yield one("51", "50", Kind.INTERNAL, Layer.SDK)
    yield one("60", "60", Kind.CLIENT, Layer.SDK, "itself")
    yield one("70", "71", Kind.SERVER, Layer.SDK, service="ring")
    yield one("71", "70", Kind.SERVER, Layer.SDK, service="ring")
    yield one("72", "71", Kind.CLIENT, Layer.SDK, "ring", "ring")


def deep() -> list[Fact]:
    """Calls out below 60 to 69 spans of their service: the last ones are below more than are looked at."""
    facts: list[Fact] = []
    for levels in range(60, 70):
        trace = f"{levels:032x}"
        for level in range(levels + 2):
            kind = Kind.SERVER if not level else Kind.CLIENT if level > levels else Kind.INTERNAL
            parent = f"{level:016x}" if level else ""
            span = f"{level + 1:016x}"
            place = ("cart", "cart-1", "", Layer.SDK, "shop.Cart/Get", "stock" if kind is Kind.CLIENT else "")
            facts.append(Fact(trace, span, parent, kind, *place, BEGIN, BEGIN + MS, ""))
    return facts


def twice() -> list[Fact]:
    """Spans that come twice and differ, in random order."""
    facts = layered()[:400]
    again = [one._replace(parent_id="", start=one.start - MS, route="other") for one in facts[::3]]
    return shuffled([*facts, *again, *facts[::5]])


def traffic(*made: Traffic) -> list[Fact]:
    return [fact(span) for one in made for span in one.spans()]


CORPORA: Final[dict[str, Callable[[], list[Fact]]]] = {
    "malformed spans": malformed,
    "sidecars and SDKs, links, shared ids": layered,
    "spans below many of their own service": deep,
    "spans that come twice": twice,
    "an SDK behind a sidecar whose headers it does not read": lambda: traffic(Traffic(sdk=True, behind=True)),
    "request ids that go on": lambda: traffic(Traffic(cuts=True, passes_id=True), Traffic(name="shop")),
    "a job beside a cutter": lambda: traffic(Traffic(jobs=20), Traffic(name="shop", cuts=True)),
    "one request id for all": lambda: [one._replace(request_id="1") for one in traffic(Traffic(cuts=True))[:600]],
    **{f"a shop, {name}": lambda scene=scene: build(scene, 5).facts for name, scene in SHOPS.items()},  # type: ignore[misc]
}
"""What is audited, by what it holds."""
