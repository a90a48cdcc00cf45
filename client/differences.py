"""What lies between two hops, a proxy or a hop without a record, did to the headers on their way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from client.traceid import changes_at_each_hop, same_trace, trace_id_in
from client.usage import Metadata
from protos import hop_pb2

_UNCHECKED = frozenset({"x-request-id"})  # the edge may rewrite a digit of it
_KEY_ONLY = frozenset({hop_pb2.UNLISTED, hop_pb2.REFUSED})  # their values are not in the record


def sent_headers(metadata: Metadata) -> tuple[hop_pb2.Header, ...]:
    """The requester's own headers in the form of a record, to compare with what the first hop received."""
    return tuple(
        hop_pb2.Header(key=key, value=value if isinstance(value, bytes) else value.encode())
        for key, value in metadata
        if key not in _UNCHECKED
    )


def forwarded(hop: hop_pb2.Hop) -> tuple[hop_pb2.Header, ...]:
    return tuple(header for header in hop.headers if header.fate == hop_pb2.FORWARDED)


def differences(left: Sequence[hop_pb2.Header], arrived: Sequence[hop_pb2.Header]) -> Iterator[str]:
    """What became of each header that left, where it is not what arrived: `baggage was lost`, …

    A new span id in the same trace is a tracer's duty and no difference. Values need not be whole.
    """
    # gRPC's own user-agent is in every record but one that had to give up the bare keys.
    complete = any(header.fate in _KEY_ONLY for header in arrived)
    for key in dict.fromkeys(header.key for header in left):
        before = [header for header in left if header.key == key]
        after = [header for header in arrived if header.key == key]
        if after and (what := _difference(key, before, after)):
            yield what
        elif not after:
            yield f"{key} was lost" if complete else f"{key} is missing, perhaps only from a record too long for it"


def _difference(key: str, before: list[hop_pb2.Header], after: list[hop_pb2.Header]) -> str | None:
    if any(header.fate in _KEY_ONLY for header in after) or _same_values(before, after):
        return None
    if _only_a_new_span(key, before, after):
        return None
    if _folded(before, after):
        return f"{len(before)} {key} headers were folded into one, comma-joined"
    if Counter(map(_digest, before)) == Counter(map(_digest, after)):
        return f"{key} headers changed their order"
    return f"{key} was changed" if len(before) == len(after) else f"{key} came {len(after)} times, not {len(before)}"


def _same_values(before: Sequence[hop_pb2.Header], after: Sequence[hop_pb2.Header]) -> bool:
    return [_digest(header) for header in before] == [_digest(header) for header in after]


def _digest(header: hop_pb2.Header) -> tuple[int, bytes]:
    """A value's length and the first 8 bytes of its SHA-256, which every form of it in a record can give."""
    if header.length:
        return header.length, header.sha256[:8]
    return len(header.value), hashlib.sha256(header.value).digest()[:8]


def _only_a_new_span(key: str, before: Sequence[hop_pb2.Header], after: Sequence[hop_pb2.Header]) -> bool:
    if changes_at_each_hop(key):
        return True
    old, new = (trace_id_in(key, headers[0].value) for headers in (before, after))
    return bool(old and new and same_trace(old, new))


def _folded(before: Sequence[hop_pb2.Header], after: Sequence[hop_pb2.Header]) -> bool:
    if len(before) < 2 or len(after) != 1 or any(header.length for header in (*before, *after)):
        return False
    items = [item.strip() for header in before for item in header.value.split(b",")]
    return items == [item.strip() for item in after[0].value.split(b",")]
