"""The audit's table. ``python -m bench.audit --seeds 1000-1004 [--scene NAME]``."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

import duckdb
import pyarrow.parquet as pq

from bench.audit import scale
from bench.audit.scenes import SCENES
from bench.audit.shop import Cut, Member, Scene, Shop, build, cutters, simulate
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import CUTTING, Audit, Word
from grpc_tracing.engines import duck, evidence
from grpc_tracing.engines.layout import LAYOUT
from grpc_tracing.spans.model import Kind

_MEMORY = 3 << 30
_ROOTS = "SELECT DISTINCT service FROM spans WHERE parent_id = '' AND kind = 'client'"
_ORPHANS = """SELECT DISTINCT service FROM spans AS below WHERE parent_id <> ''
AND NOT EXISTS (SELECT 1 FROM spans AS above WHERE above.span_id = below.parent_id)"""

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


@dataclass(frozen=True)
class Read:
    """A shop as it was audited, and whom two rules of the Instrumentation Score name.

    SPA-004: a root span must not be of kind CLIENT. SPA-002: a parent is there.
    """

    shop: Shop
    spans: int
    spent: float
    """CPU seconds of the audit."""
    result: Audit
    client_roots: set[str]
    orphans: set[str]


def streamed(scene: Scene, seed: int) -> Read:
    """Span by span, as they come."""
    shop = build(scene, seed)
    began = time.process_time()
    ledger = Ledger()
    ledger.take_facts(shop.facts)
    ledger.close()
    result = judge(ledger)
    spent = time.process_time() - began
    known = {one.span_id for one in shop.facts}
    roots = {one.service for one in shop.facts if one.kind is Kind.CLIENT and not one.parent_id}
    orphans = {one.service for one in shop.facts if one.parent_id and one.parent_id not in known}
    return Read(shop, len(shop.facts), spent, result, roots, orphans)


def in_columns(scene: Scene, seed: int) -> Read:
    """By DuckDB, which says the same and takes half of the time."""
    made = simulate(scene, seed)
    table = scale.table(made).cast(LAYOUT)
    with TemporaryDirectory() as folder:
        path = f"{folder}/spans.parquet"
        pq.write_table(table, path, compression="none")
        began = time.process_time()
        with duck.opened([path], table.num_rows, duck.Limits(_MEMORY, threads=1)) as engine:
            result = judge(evidence.collect(engine))
        spent = time.process_time() - began
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("spans", table)
        roots, orphans = ({name for (name,) in connection.sql(rule).fetchall()} for rule in (_ROOTS, _ORPHANS))
    return Read(made.shop, table.num_rows, spent, result, roots, orphans)


def measure(scene: Scene, seeds: Iterable[int], way: Callable[[Scene, int], Read], verbose: bool) -> str:
    ours, spa4, spa2, spans, spent, shops = Tally(), Tally(), Tally(), 0, 0.0, 0
    for seed in seeds:
        read = way(scene, seed)
        shop, result = read.shop, read.result
        spent += read.spent
        spans += read.spans
        shops += 1
        true = {one.name: one for one in cutters(shop)}
        words = {one.service: one.verdict for one in result.services}
        ours.add({name for name, word in words.items() if word in CUTTING}, set(true))
        ours.kind += sum(words.get(name) == _wanted(scene, one) for name, one in true.items())
        ours.open += sum(words.get(name, Word.CANNOT_TELL) in _OPEN for name in true)
        ours.jobs += sum(words.get(name) in {Word.JOB, Word.WHOLE} for name in true)
        spa4.add(read.client_roots, set(true))
        spa2.add(read.orphans, set(true))
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
    parser.add_argument("--columns", action="store_true", help="audit by DuckDB: the same, in half of the time")
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
            seeds = range(int(first), int(last or first) + 1)
            lasting = replace(scene, seconds=options.seconds)
            print(measure(lasting, seeds, in_columns if options.columns else streamed, options.verbose), flush=True)
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
