"""Clocks that are off: a call that came in before it was made, and by how much."""

from dataclasses import dataclass

from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.names import fold
from grpc_tracing.spans.tree import Row, Trace

# Less is the resolution of clocks on one machine: Envoy's are of microseconds, and adjusted while they run.
_LEAST_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Skew:
    """The spans of `service` stand `off_ns` later than by `caller`'s clock, earlier where that is negative."""

    service: str
    caller: str
    off_ns: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """By row: `shifts` are what its times are corrected by, ns; `skews` stand where a clock shows itself to be off."""

    shifts: tuple[int, ...]
    skews: dict[int, Skew]


def clocks(trace: Trace) -> Clocks:
    """A call in must lie within the call out: where it does not, it is moved to the middle of it, with what is below.

    A call in that outlives its caller shows nothing: whoever cancels does not wait.
    """
    shifts: list[int] = []
    skews: dict[int, Skew] = {}
    for index, row in enumerate(trace.rows):
        shift = _inherited(trace, row, shifts)
        off = _off(trace, row, shifts, shift)
        if off:
            skews[index] = Skew(fold(row.span.service), fold(trace.rows[row.parent or 0].span.service), off)
        shifts.append(shift - off)
    return Clocks(tuple(shifts), skews)


def _inherited(trace: Trace, row: Row, shifts: list[int]) -> int:
    """Spans of one service below one another tell the time by one clock; another service has its own."""
    if row.parent is None:
        return 0
    above = trace.rows[row.parent].span
    return shifts[row.parent] if fold(above.service) == fold(row.span.service) else 0


def _off(trace: Trace, row: Row, shifts: list[int], shift: int) -> int:
    if row.parent is None or row.span.kind is not Kind.SERVER:
        return 0
    above, span, moved = trace.rows[row.parent].span, row.span, shifts[row.parent]
    if above.kind is not Kind.CLIENT or fold(above.service) == fold(span.service) or above.error:
        return 0
    begin, end, start = above.start_ns + moved, above.end_ns + moved, span.start_ns + shift
    if begin - _LEAST_NS <= start <= end + _LEAST_NS:
        return 0
    return start - (begin + max(0, above.duration_ns - span.duration_ns) // 2)


def moved(span: Span, shift: int) -> tuple[int, int]:
    """Its start and end, corrected."""
    return span.start_ns + shift, span.start_ns + shift + span.duration_ns
