"""Spark on a cluster of two worker processes says what the streaming ledger says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from grpc_tracing.engines.layout import table
from tests.engines import heavy
from tests.engines.same import CORPORA, streamed, text
from tests.support.processes import ROOT

MASTER = "local-cluster[2,1,1024]"
"""Spark's own cluster for tests: two workers of a core and a gigabyte, each with an executor, processes all."""
CHOSEN = ("a shop, rough",)


@dataclass(frozen=True)
class Spark:
    process: subprocess.Popen[str]
    errors: Path

    def audit(self, path: Path) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.errors.read_text()[-3000:]
        return json.loads(answer)


@contextmanager
def running(python: str, errors: Path) -> Iterator[Spark]:
    command = [python, "-m", "tests.engines.spark_audits", MASTER]
    with (
        errors.open("w") as err,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True
        ) as process,
    ):
        yield Spark(process, errors)
        assert process.stdin
        process.stdin.close()
        assert process.wait(60) == 0, errors.read_text()[-3000:]


def is_the_same(spark: Spark, what: str, folder: Path) -> None:
    facts = CORPORA[what]()
    pq.write_table(table(facts), folder / "spans.parquet")
    assert json.dumps(spark.audit(folder / "spans.parquet"), indent=1) == text(streamed(facts))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_spark_says_what_the_streaming_ledger_says(tmp_path: Path) -> None:
    with running(heavy.with_spark(), tmp_path / "errors.txt") as spark:
        for what in CHOSEN:
            is_the_same(spark, what, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_spark_says_so_of_all_others(tmp_path: Path) -> None:
    with running(heavy.with_spark(), tmp_path / "errors.txt") as spark:
        for what in CORPORA.keys() - set(CHOSEN):
            is_the_same(spark, what, tmp_path)
