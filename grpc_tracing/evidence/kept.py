"""The headers that a hop received and, by its own record, did not pass on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.headers.families import REQUEST_ID, carries_trace_id
from grpc_tracing.headers.forwarding import GOES_ON, Decision

_KEPT: Final = frozenset({Decision.SWITCHED_OFF, Decision.LEFT_OUT})
WHY: Final[Mapping[int, str]] = {
    Decision.SWITCHED_OFF: "its propagation is set to none",
    Decision.LEFT_OUT: "missing from its own list",
    Decision.UNLISTED: "on none of its lists",
    Decision.REFUSED: "refused there",
}


def not_forwarded(hop: HopRecord, allowed: Collection[str]) -> list[Header]:
    """What it kept although it should forward it: its own list's and the default list's headers, and `allowed` keys."""
    return [
        header
        for header in hop.headers
        if header.decision in _KEPT or (header.key in allowed and header.decision in WHY)
    ]


def breaking(hop: HopRecord, required: Collection[str]) -> list[Header]:
    """What it kept and thereby broke the call: everything beside a carrier of the trace id, and `required` keys."""
    carrier = any(header.decision in _KEPT and carries_trace_id(header.key) for header in hop.headers)
    return [
        header
        for header in not_forwarded(hop, required)
        if carrier or (header.key in required and header.key != REQUEST_ID)
    ]


def allowed_keys(hops: Sequence[HopRecord], custom: Collection[str]) -> frozenset[str]:
    """The -H keys that some hop's list names: those it forwarded, or says that it would but for its settings."""
    known = _KEPT.union(GOES_ON)
    return frozenset(header.key for hop in hops for header in hop.headers if header.decision in known) & set(custom)
