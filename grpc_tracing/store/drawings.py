"""The traces that were looked at last, assembled and drawn: a long one takes a second, and is asked for in parts."""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.store import read_trace
from grpc_tracing.store.waterfall import Waterfall, waterfall

_KEPT = 4

# Spans are only ever added to a trace: so many chunks of so many bytes are the same ones.
_Key = tuple[str, int, int, bool]


@dataclass(frozen=True, slots=True)
class Drawing:
    """`version` changes as spans come in."""

    trace: Trace
    fall: Waterfall
    version: str


@dataclass
class Drawings:
    """For threads too."""

    _kept: OrderedDict[_Key, Drawing] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, trace_id: str, chunks: tuple[bytes, ...], *, reported: bool) -> Drawing:
        """`chunks` are the trace's as the store has them, one at least; `reported`: with the times as they came."""
        key = (trace_id, len(chunks), sum(map(len, chunks)), reported)
        with self._lock:
            if key not in self._kept:
                trace = read_trace(chunks)
                self._kept[key] = Drawing(trace, waterfall(trace, reported=reported), f"{key[1]}-{key[2]}")
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]
