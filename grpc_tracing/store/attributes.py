"""The traces with a span that has an attribute: read from the spans, for no column holds what spans say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from grpc_tracing.spans.formats.otlp import read_chunk
from grpc_tracing.store.chosen import Chosen

MOST: Final = 1000
"""So many traces are read; the newest first."""

Chunks = Callable[[str], tuple[bytes, ...]]


def bearing(chosen: Chosen, wanted: tuple[str, str], chunks: Chunks) -> tuple[Chosen, int]:
    """Those of them with a span or resource that has this attribute, and how many were not read."""
    key = wanted[0].encode()
    order = chosen.table.traces["order"]
    rows = np.flatnonzero(chosen.rows)
    found = np.zeros(len(chosen.rows), np.bool_)
    read = 0
    newest = rows[np.argsort(-order[rows])].tolist()
    for place, row in enumerate(newest):
        held = chunks(chosen.table.summaries[row].trace_id)
        # A key stands in a chunk as it is; a value may be a number.
        if not any(key in chunk for chunk in held):
            continue
        if read == MOST:
            return chosen.only(found), len(newest) - place
        read += 1
        spans = (span for chunk in held if key in chunk for span in read_chunk(chunk))
        found[row] = any(wanted in span.attributes or wanted in span.resource for span in spans)
    return chosen.only(found), 0
