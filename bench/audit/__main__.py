"""The audit's table. ``python -m bench.audit --seeds 1000-1004 [--scene NAME]``."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.audit.shop import Cut, Member, Scene, Shop, build, cutters
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import CUTTING, Audit, Word
from grpc_tracing.spans.model import Kind

FULL = Scene("100 %")
ROUGH = replace(FULL, name="rough", rough=True)
BUSY = replace(FULL, services=7, jobs=0)
SCENES = (
    FULL,
    replace(FULL, name="10 %", sampling=0.1),
    replace(FULL, name="1 %", sampling=0.01),
    replace(FULL, name="100 %, ids of half", ids=0.5),
    replace(FULL, name="100 %, ids of all", ids=1.0),
    replace(FULL, name="10 %, ids of half", ids=0.5, sampling=0.1),
    replace(FULL, name="10 %, ids of all", ids=1.0, sampling=0.1),
    replace(FULL, name="1 %, ids of half", ids=0.5, sampling=0.01),
    replace(FULL, name="1 %, ids of all", ids=1.0, sampling=0.01),
    replace(BUSY, name="busy, 5 % cut", busy=0.05),
    replace(BUSY, name="busy, 20 % cut", busy=0.2),
    replace(BUSY, name="busy, 100 % cut", busy=1.0),
    ROUGH,
    replace(ROUGH, name="none cut, rough", cutters=0),
    replace(ROUGH, name="none cut, rough, 10 %", cutters=0, sampling=0.1),
)
_WANTED = {
    Cut.ALL: Word.CUTS,
    Cut.RPC: Word.CUTS,
    Cut.STREAMS: Word.CUTS,
    Cut.INSTANCE: Word.PARTLY,
    Cut.VERSION: Word.PARTLY,
    Cut.SOME: Word.PARTLY,
}


_OPEN = {Word.CANNOT_TELL, Word.UNKNOWN}


@dataclass
class Tally:
    """Right and wrong names; `kind` counts the right names whose word is right too, `open` cutters left open, `jobs`
    cutters called a job or whole."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    kind: int = 0
    open: int = 0
    jobs: int = 0

    def add(self, named: set[str], true: set[str]) -> None:
        self.right += len(named & true)
        self.wrong += len(named - true)
        self.missed += len(true - named)

    def cells(self) -> str:
        precision = self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0
        recall = self.right / (self.right + self.missed) if self.right + self.missed else 1.0
        return f"{precision:.3f} | {recall:.3f}"


def audit(shop: Shop) -> Audit:
    ledger = Ledger()
    for one in shop.facts:
        ledger.take_fact(one)
    ledger.close()
    return judge(ledger)


def client_roots(shop: Shop) -> set[str]:
    """SPA-004 of the Instrumentation Score: a root span must not be of kind CLIENT."""
    return {one.service for one in shop.facts if one.kind is Kind.CLIENT and not one.parent_id}


def orphans(shop: Shop) -> set[str]:
    """SPA-002: a parent that is not there."""
    known = {one.span_id for one in shop.facts}
    return {one.service for one in shop.facts if one.parent_id and one.parent_id not in known}


def measure(scene: Scene, seeds: Iterable[int], verbose: bool) -> str:
    ours, spa4, spa2, spans, spent, shops = Tally(), Tally(), Tally(), 0, 0.0, 0
    for seed in seeds:
        shop = build(scene, seed)
        began = time.process_time()
        result = audit(shop)
        spent += time.process_time() - began
        spans += len(shop.facts)
        shops += 1
        true = {one.name: one for one in cutters(shop)}
        words = {one.service: one.verdict for one in result.services}
        ours.add({name for name, word in words.items() if word in CUTTING}, set(true))
        ours.kind += sum(words.get(name) == _wanted(scene, one) for name, one in true.items())
        ours.open += sum(words.get(name, Word.CANNOT_TELL) in _OPEN for name in true)
        ours.jobs += sum(words.get(name) in {Word.JOB, Word.WHOLE} for name in true)
        spa4.add(client_roots(shop), set(true))
        spa2.add(orphans(shop), set(true))
        if verbose:
            _explain(scene, seed, shop, result)
    return (
        f"| {scene.name} | {shops} | {ours.cells()} | {ours.wrong} | {ours.kind} of {ours.right} "
        f"| {ours.open} of {ours.missed} | {ours.jobs} | {spa4.cells()} | {spa2.cells()} "
        f"| {spans / 1e3:.0f} k in {spent:.1f} s |"
    )


def _wanted(scene: Scene, one: Member) -> Word:
    return Word.CUTS if scene.busy == 1 or one.cut is None else _WANTED[one.cut]


def _explain(scene: Scene, seed: int, shop: Shop, result: Audit) -> None:
    kinds = {one.name: one for one in cutters(shop)}
    for one in result.services:
        true = kinds.get(one.service)
        cut = true.cut if true else None
        if one.verdict != _wanted(scene, true) if true else one.verdict in CUTTING:
            z, effect = one.z or 0.0, one.effect or 0.0
            print(
                f"  {seed} {one.service} truly {cut}: {one.verdict}, {one.cut} of {one.calls_out}, "
                f"z {z:.1f}, {effect:.2f}"
            )
            for route in one.routes[:6]:
                print(f"      {route.called} -> {route.out}: {route.cut} of {route.calls_out} {route.verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--seeds", default="1000-1004", metavar="A-B", help="first and last seed [%(default)s]")
    parser.add_argument("--scene", action="append", choices=[one.name for one in SCENES], help="[all]")
    parser.add_argument("--seconds", type=float, default=60, help="of traffic [%(default)g]")
    parser.add_argument("--verbose", action="store_true", help="name each service that was judged wrongly")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    print(
        "| scene | seeds | precision | recall | named wrongly | right kind | of the missed, cannot tell "
        "| cutters called job or whole | SPA-004: precision | recall | SPA-002: precision | recall | spans |"
    )
    print("|---|" + "---|" * 12)
    for scene in SCENES:
        if not options.scene or scene.name in options.scene:
            print(
                measure(
                    replace(scene, seconds=options.seconds), range(int(first), int(last or first) + 1), options.verbose
                ),
                flush=True,
            )
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
