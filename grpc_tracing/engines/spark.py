"""Apache Spark: the same SQL on a cluster. Its workers need nothing of ours, and no Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyspark
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from grpc_tracing.engines.evidence import EngineError
from grpc_tracing.engines.layout import given
from grpc_tracing.engines.sql import Dialect, spans

_DIALECT: Final = Dialect(
    distinct="sort_array(collect_set({}))",
    times="collect_list(named_struct('a', {}, 'b', {}))",
)
_LARGE: Final = frozenset({"held", "joined"})
"""Tables of all spans, kept packed. Of the others, which are made one from the other, the rows alone are kept: a query
that holds those of all steps before it takes Spark minutes to plan."""
_LEAST_PARTS: Final = 4
_PART: Final = 200_000
"""Spans of a task. Spark's own setting, 200 tasks whatever there is to do, costs more than the work."""
_SETTINGS: Final = {
    "spark.driver.maxResultSize": "0",  # the calls of all instances come to the driver
    "spark.log.level": "ERROR",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.constraintPropagation.enabled": "false",  # it fails on tables that are kept twice in one union
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@dataclass
class Spark:
    """Tables are kept on the workers, in memory and on their disks."""

    session: SparkSession
    files: Sequence[str]
    parts: int = 1
    dialect: Dialect = _DIALECT

    def open(self, part: int) -> None:
        del part
        with _said():
            self.session.read.parquet(*self.files).createOrReplaceTempView("files")
            self.session.sql(given("files")).createOrReplaceTempView("given")
            self.session.sql(spans("given")).createOrReplaceTempView("spans")

    def keep(self, name: str, query: str) -> None:
        with _said():
            found = self.session.sql(query)
            if name in _LARGE:
                found = found.persist(pyspark.StorageLevel.MEMORY_AND_DISK)
            else:
                found = found.localCheckpoint(storageLevel=pyspark.StorageLevel.MEMORY_AND_DISK)
            found.createOrReplaceTempView(name)

    def add(self, name: str, query: str) -> None:
        self.keep(name, query)

    def rows(self, query: str) -> pa.Table:
        with _said():
            return self.session.sql(query).toArrow()


def opened(files: Sequence[str], rows: int, master: str, memory: int) -> AbstractContextManager[Spark]:
    """The engine over these files, of so many rows, on this master or the one that Spark's own settings name.

    `memory` is the driver's, in bytes. Raises EngineError.
    """
    if not shutil.which("java") and not Path(os.environ.get("JAVA_HOME", ""), "bin", "java").is_file():
        raise EngineError("Spark needs Java, which is not here: install a JDK, or name one by JAVA_HOME")
    return _running(files, rows, master, memory)


@contextmanager
def _running(files: Sequence[str], rows: int, master: str, memory: int) -> Iterator[Spark]:
    with _said():
        builder = SparkSession.builder.appName("grpc-tracing audit").config(map=dict(_SETTINGS))
        builder = builder.config("spark.driver.memory", f"{memory // 1024**2}m")
        builder = builder.config("spark.sql.shuffle.partitions", str(_LEAST_PARTS + rows // _PART))
        session = (builder.master(master) if master else builder).getOrCreate()
    try:
        yield Spark(session, [str(Path(file).absolute()) for file in files])
    finally:
        session.stop()


@contextmanager
def _said() -> Iterator[None]:
    """Raises EngineError with the first line of what Spark says."""
    try:
        yield
    except Py4JNetworkError:
        raise EngineError("Spark ended while it worked: its log tells why") from None
    except (PySparkException, Py4JError) as error:
        cause = getattr(error, "java_exception", None)
        text = str(cause.toString() if cause is not None else error)
        raise EngineError(f"Spark: {text.strip().partition(chr(10))[0]}") from None
