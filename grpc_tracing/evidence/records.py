"""A hop's record of one call, as evidence: what came in, and what the hop says that it did with it."""

from __future__ import annotations

from dataclasses import dataclass

from grpc_tracing.headers.families import CARRIERS, Pair
from grpc_tracing.headers.forwarding import Decision
from grpc_tracing.headers.reading import TraceContext, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that a hop received.

    A long value stands as its first bytes or none, its `length` in bytes, and its SHA-256 or the first 8 bytes of it.
    `decision` is a number without a name where a later version of a hop made the record.
    """

    key: str
    value: bytes = b""
    length: int = 0
    sha256: bytes = b""
    decision: int = Decision.FORWARDED

    @property
    def whole(self) -> bool:
        """Whether `value` is all of it."""
        return not self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class HopRecord:
    """What a hop left in the trailers; times in microseconds, `remaining_ms` None without a deadline.

    `trace_id` is spelled as its family does; empty: the hop received none that it could read. `shortened`: the record
    holds service, version, trace id and status alone.
    """

    service: str
    version: str = ""
    instance: str = ""
    rpc: str = ""
    peer: str = ""
    headers: tuple[Header, ...] = ()
    remaining_ms: int | None = None
    here_us: int = 0
    later_us: int = 0
    status: int = 0
    trace_id: str = ""
    shortened: bool = False


def pairs(headers: tuple[Header, ...]) -> list[Pair]:
    """Keys and values as gRPC delivers them, of the headers whose values are whole."""
    return [
        (header.key, header.value if header.key.endswith("-bin") else header.value.decode("latin-1"))
        for header in headers
        if header.whole
    ]


def contexts(headers: tuple[Header, ...]) -> dict[str, TraceContext]:
    """What each carrier of a trace id says, by key; a carrier whose value is not whole says nothing."""
    cut = {header.key for header in headers if not header.whole and header.key in CARRIERS}
    return {context.key: context for context in read(pairs(headers)) if context.key not in cut}


def reported_id(record: HopRecord) -> str:
    """The trace id that a record names, in the one spelling of `TraceContext`; empty: it received none."""
    if not record.trace_id:
        return ""
    for context in contexts(record.headers).values():
        if context.spelled == record.trace_id:
            return context.trace_id
    return _guessed(record.trace_id)


def _guessed(spelled: str) -> str:
    """Without its header, as in a shortened record: no family but Datadog writes decimals of this length."""
    if spelled.isascii() and spelled.isdigit() and 17 <= len(spelled) <= 20:
        return f"{int(spelled):016x}"
    return spelled.removeprefix("1-").replace("-", "").lower() if spelled.startswith("1-") else spelled
