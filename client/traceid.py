"""Trace ids: found in the headers of each trace family, and compared across families."""

from __future__ import annotations

import re
from collections.abc import Iterable

from protos import hop_pb2

# The header of each family that carries the trace id, and where in its value.
_CARRIERS = {
    "traceparent": re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"),
    "x-b3-traceid": re.compile(r"([0-9a-fA-F]{16}|[0-9a-fA-F]{32})"),
    "b3": re.compile(r"([0-9a-fA-F]{16}|[0-9a-fA-F]{32})-.*"),
    "x-datadog-trace-id": re.compile(r"([0-9]{1,20})"),
    "x-cloud-trace-context": re.compile(r"([0-9a-fA-F]{32})(?:/.*)?"),
    "x-amzn-trace-id": re.compile(r"(?:.*;)?\s*Root=(1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24})(?:;.*)?"),
    "uber-trace-id": re.compile(r"([0-9a-fA-F]{1,32})(?::|%3A).*"),
    "sw8": re.compile(r"1-([A-Za-z0-9+/=]+)-.*"),
}
# Beside the carriers: headers that a proxy's tracer writes anew at every hop, in the same trace.
_SPAN_KEYS = frozenset({"x-b3-spanid", "x-b3-parentspanid", "x-datadog-parent-id"})
_HEX = re.compile(r"[0-9a-f]{1,32}")
_DECIMAL = re.compile(r"[0-9]{17,20}")


def carries_trace_id(key: str) -> bool:
    return key in _CARRIERS


def changes_at_each_hop(key: str) -> bool:
    """True for a header that holds nothing but a span's id: another value means no loss."""
    return key in _SPAN_KEYS


def trace_id_in(key: str, value: str | bytes) -> str | None:
    """The trace id that a header carries, in one spelling: lower-case hex; None where it carries none."""
    spelled = _spelled(key, value)
    return None if spelled is None else _normal(key, spelled)


def reported_id(hop: hop_pb2.Hop) -> str:
    """The trace id that a hop's record names, in one spelling; empty: it received none."""
    for header in hop.headers:
        if hop.trace_id and _spelled(header.key, header.value) == hop.trace_id:
            return _normal(header.key, hop.trace_id)
    # Without its header, as in a shortened record: no family but Datadog writes decimals of this length.
    return _normal("x-datadog-trace-id" if _DECIMAL.fullmatch(hop.trace_id) else "", hop.trace_id)


def _spelled(key: str, value: str | bytes) -> str | None:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    match = _CARRIERS[key].fullmatch(text) if key in _CARRIERS else None
    return match[1] if match else None


def _normal(key: str, spelled: str) -> str:
    if key == "sw8":
        return spelled
    if key == "x-datadog-trace-id":
        return f"{int(spelled):016x}"
    return spelled.removeprefix("1-").replace("-", "").lower()


def sent_id(sent: Iterable[tuple[str, str | bytes]]) -> str:
    """The trace id in what a call sent, in one spelling; empty: it sent none that can be read."""
    return next((found for key, value in sent if (found := trace_id_in(key, value))), "")


def in_32_digits(trace_id: str) -> str:
    """As W3C and trace backends write it; another family's, such as SkyWalking's, stays as it is."""
    return trace_id.zfill(32) if _HEX.fullmatch(trace_id) else trace_id


def same_trace(one: str, other: str) -> bool:
    """True where two ids name one trace; an id of 64 bits is the lower half of one of 128."""
    if one == other:
        return True
    if not (_HEX.fullmatch(one) and _HEX.fullmatch(other)):
        return False
    if min(len(one), len(other)) > 16:
        return int(one, 16) == int(other, 16)
    return int(one[-16:], 16) == int(other[-16:], 16)


def distinct(ids: Iterable[str]) -> list[str]:
    """The different traces among `ids`, empty ones left out, in order."""
    found: list[str] = []
    for trace_id in ids:
        if trace_id and not any(same_trace(trace_id, known) for known in found):
            found.append(trace_id)
    return found
