"""What one call of the chain left behind: the evidence that the verdict is read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.headers.families import HOP_RECORD, Metadata
from protos import hop_pb2, landing_pb2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One finished call. `status` is the gRPC status code's name, `timeout` and `duration` are in seconds.

    `unreadable` counts the answers that are not a TalkResponse; `began_ns` is the wall clock's Unix time.
    """

    rpc: str
    asked: tuple[int, ...]
    sent: Metadata
    status: str
    message: str = ""
    responses: tuple[landing_pb2.TalkResponse, ...] = ()
    unreadable: int = 0
    hops: tuple[HopRecord, ...] = ()
    duration: float = 0.0
    timeout: float = 5.0
    began_ns: int = 0


def hop_records(trailing: Iterable[tuple[str, str | bytes]]) -> tuple[HopRecord, ...]:
    """The records in trailing metadata, svc1's first; what is no record is left out."""
    return tuple(_record(hop) for key, value in trailing if key == HOP_RECORD and (hop := decoded(value)))


def decoded(value: str | bytes) -> hop_pb2.Hop | None:
    """A record as it came; None for what is no record. A load, which has no use for headers, reads this alone."""
    try:
        hop = hop_pb2.Hop.FromString(value) if isinstance(value, bytes) else None
    except DecodeError:
        return None
    return hop if hop and hop.service else None


def _record(hop: hop_pb2.Hop) -> HopRecord:
    return HopRecord(
        service=hop.service,
        version=hop.version,
        instance=hop.instance,
        rpc=hop.rpc,
        peer=hop.peer,
        headers=tuple(map(_header, hop.headers)),
        remaining_ms=hop.remaining_ms if hop.HasField("remaining_ms") else None,
        here_us=hop.here_us,
        later_us=hop.later_us,
        status=hop.status,
        trace_id=hop.trace_id,
        shortened=hop.shortened,
    )


def _header(header: hop_pb2.Header) -> Header:
    return Header(
        key=header.key, value=header.value, length=header.length, sha256=header.sha256, decision=int(header.decision)
    )
