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
_NOT_NULL: Final = {
    "string": "coalesce({}, '')",
    "int64": "CAST(coalesce({}, 0) AS BIGINT)",
    "bool": "coalesce({}, false)",
}
_ROWS: Final = 1 << 18
"""Of a row group: what a reader holds at a time."""


class LayoutError(Exception):
    """A file that is not in the layout; the message says in one line what is wrong with it."""


def rows_of(path: str) -> int:
    """How many spans a file holds. Raises LayoutError where it is cut off or lacks columns."""
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (
            error.strerror.lower() if isinstance(error, OSError) and error.strerror else "is cut off, or no Parquet"
        )
        raise LayoutError(f"{path}: {reason}") from None
    lacking = [name for name in NAMES if name not in schema.names]
    if lacking:
        raise LayoutError(f"{path} lacks the columns {', '.join(lacking)}: docs/scale.md says what each holds")
    for field in LAYOUT:
        found = schema.field(field.name).type
        if not _fits(found, field.type):
            raise LayoutError(f"{path}: the column {field.name} is {found}, and has to be {field.type}")
    return rows


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if wanted == pa.string():
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))
    return bool(pa.types.is_integer(found) if wanted == pa.int64() else found == wanted)


def given(table: str) -> str:
    """SQL for the layout's columns of a table, without nulls."""
    columns = (_NOT_NULL[str(field.type)].format(field.name) + f" AS {field.name}" for field in LAYOUT)
    return f"SELECT {', '.join(columns)} FROM {table}"


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
