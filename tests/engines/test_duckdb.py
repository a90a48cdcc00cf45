"""DuckDB over Parquet says what the streaming ledger says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from grpc_tracing.audit.facts import Fact
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.engines import duck, evidence
from grpc_tracing.engines.layout import table
from tests.engines.same import CORPORA, held, shuffled, streamed, text
from tests.support.cells import cells

QUICK = ("malformed spans", "spans that come twice")


def audited(path: Path, facts: Sequence[Fact], part: int) -> Ledger:
    pq.write_table(table(facts), path)
    with duck.opened([str(path)], len(facts), duck.Limits(500 * 1024**2), part) as engine:
        return evidence.collect(engine)


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("what", cells(CORPORA, QUICK))
def test_duckdb_says_what_the_streaming_ledger_says(what: str, parts: int, tmp_path: Path) -> None:
    facts = CORPORA[what]()
    expected = streamed(facts)
    found = audited(tmp_path / "spans.parquet", facts, len(facts) // parts + 1)
    assert text(found) == text(expected)
    assert held(found) == held(expected)


@pytest.mark.parametrize("what", cells(CORPORA, QUICK))
def test_the_order_of_spans_changes_no_number(what: str) -> None:
    facts = CORPORA[what]()
    assert held(streamed(shuffled(facts))) == held(streamed(facts))
