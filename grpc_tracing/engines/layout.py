"""The columns of a Parquet file of spans; docs/scale.md names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.spans.model import Span

LAYOUT: Final = pa.schema(
    [
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("parent_id", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("service", pa.string()),
        pa.field("instance", pa.string()),
        pa.field("version", pa.string()),
        pa.field("layer", pa.string()),
        pa.field("route", pa.string()),
        pa.field("target", pa.string()),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("request_id", pa.string()),
        pa.field("linked", pa.bool_()),
    ]
)
"""In the order of `Fact`."""
NAMES: Final = tuple(LAYOUT.names)
IDS: Final = frozenset({"trace_id", "span_id", "parent_id", "request_id"})
_ROWS: Final = 1 << 18
"""Of a row group: what a reader holds at a time."""


@contextmanager
def writer(path: Path) -> Iterator[pq.ParquetWriter]:
    """A file in the layout. Names repeat and get a dictionary, ids do not."""
    named = [name for name in NAMES if name not in IDS and LAYOUT.field(name).type == pa.string()]
    with pq.ParquetWriter(path, LAYOUT, compression="zstd", compression_level=1, use_dictionary=named) as made:
        yield made


class Keeping:
    """Takes spans and writes a row group when there are enough of them; `end` writes the rest."""

    def __init__(self, made: pq.ParquetWriter) -> None:
        self._made = made
        self._held: list[Fact] = []

    def take(self, spans: Iterable[Span]) -> None:
        self._held.extend(fact(span) for span in spans)
        if len(self._held) >= _ROWS:
            self.end()

    def end(self) -> None:
        if self._held:
            self._made.write_table(table(self._held))
            self._held = []


def table(facts: Iterable[Fact]) -> pa.Table:
    """The rows of these."""
    columns = list(zip(*facts, strict=True)) or [()] * len(NAMES)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, LAYOUT, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LAYOUT)
