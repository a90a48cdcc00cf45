"""What lies between two hops, a proxy or a hop without a record, did to the headers on their way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from grpc_tracing.evidence.notes import Note, note
from grpc_tracing.evidence.records import Header, HopRecord, contexts
from grpc_tracing.headers.families import REQUEST_ID, Metadata, is_span_key
from grpc_tracing.headers.forwarding import GOES_ON, KEY_ONLY
from grpc_tracing.headers.reading import TraceContext, same_trace

_UNCHECKED = frozenset({REQUEST_ID})  # the edge may rewrite a digit of it


class Change(NamedTuple):
    """What became of one header on its way: the name of a note, and its facts."""

    name: str
    facts: Mapping[str, object]


def sent_headers(metadata: Metadata) -> tuple[Header, ...]:
    """The requester's own headers in the form of a record, to compare with what the first hop received."""
    return tuple(
        Header(key=key, value=value if isinstance(value, bytes) else value.encode())
        for key, value in metadata
        if key not in _UNCHECKED
    )


def forwarded(hop: HopRecord) -> tuple[Header, ...]:
    return tuple(header for header in hop.headers if header.decision in GOES_ON)


def differences(left: Sequence[Header], arrived: Sequence[Header]) -> Iterator[Note]:
    """What became of each header that left, where it is not what arrived: `baggage was lost`, …

    A new span id in the same trace is no difference. Values need not be whole.
    """
    for key in dict.fromkeys(header.key for header in left):
        if what := change(key, left, arrived):
            yield note(what.name, **what.facts)


def change(key: str, left: Sequence[Header], arrived: Sequence[Header]) -> Change | None:
    """What became of this header, which is among those that left; None where the same arrived."""
    before = [header for header in left if header.key == key]
    after = [header for header in arrived if header.key == key]
    if not after:
        # gRPC's own user-agent is in every record but one that had to give up the bare keys.
        complete = any(header.decision in KEY_ONLY for header in arrived)
        return Change("lost" if complete else "perhaps-lost", {"key": key})
    if any(header.decision in KEY_ONLY for header in after) or _same_values(before, after):
        return None
    if is_span_key(key) or _one_trace(contexts(tuple(left)).get(key), contexts(tuple(arrived)).get(key)):
        return None
    return _difference(key, before, after)


def _difference(key: str, before: list[Header], after: list[Header]) -> Change:
    if _folded(before, after):
        return Change("folded", {"count": len(before), "key": key})
    if Counter(map(_digest, before)) == Counter(map(_digest, after)):
        return Change("reordered", {"key": key})
    if len(before) == len(after):
        return Change("changed", {"key": key})
    return Change("other-count", {"key": key, "after": _times(len(after)), "before": _times(len(before))})


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _same_values(before: Sequence[Header], after: Sequence[Header]) -> bool:
    return [_digest(header) for header in before] == [_digest(header) for header in after]


def _digest(header: Header) -> tuple[int, bytes]:
    """A value's length and the first 8 bytes of its SHA-256, which every form of it in a record can give."""
    if header.length:
        return header.length, header.sha256[:8]
    return len(header.value), hashlib.sha256(header.value).digest()[:8]


def _one_trace(before: TraceContext | None, after: TraceContext | None) -> bool:
    """A new span id in the same trace is a tracer's duty."""
    return bool(before and after and before.trace_id and same_trace(before.trace_id, after.trace_id))


def _folded(before: Sequence[Header], after: Sequence[Header]) -> bool:
    if len(before) < 2 or len(after) != 1 or any(header.length for header in (*before, *after)):
        return False
    items = [item.strip() for header in before for item in header.value.split(b",")]
    return items == [item.strip() for item in after[0].value.split(b",")]
