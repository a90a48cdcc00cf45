"""DuckDB over Parquet says what the streaming ledger says."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.engines import duck, evidence
from grpc_tracing.engines.layout import table
from tests.engines.same import CORPORA, held, shuffled, streamed, text


def audited(path: Path, facts: list, part: int = 2_000_000) -> Ledger:
    pq.write_table(table(facts), path)
    with duck.opened([str(path)], len(facts), "500MB", 2, path.parent, part) as engine:
        return evidence.collect(engine)


@pytest.mark.parametrize("what", CORPORA)
def test_the_same(what: str, tmp_path: Path) -> None:
    facts = CORPORA[what]()
    expected = streamed(facts)
    for part in (1 + len(facts), 1 + len(facts) // 4):
        found = audited(tmp_path / "spans.parquet", facts, part)
        assert text(found) == text(expected)
        assert held(found) == held(expected)
    assert text(streamed(shuffled(facts))) == text(expected)
