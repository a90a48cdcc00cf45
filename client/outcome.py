"""What one call of the chain left behind: the evidence that the verdict is read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from client.usage import Metadata
from protos import hop_pb2, landing_pb2

HOP_KEY = "talk-hop-bin"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One finished call. `status` is the gRPC status code's name, `timeout` and `duration` are in seconds.

    `unreadable` counts the answers that are no TalkResponse.
    """

    rpc: str
    asked: tuple[int, ...]
    sent: Metadata
    status: str
    message: str = ""
    responses: tuple[landing_pb2.TalkResponse, ...] = ()
    unreadable: int = 0
    hops: tuple[hop_pb2.Hop, ...] = ()
    duration: float = 0.0
    timeout: float = 5.0


def hop_records(trailing: Iterable[tuple[str, str | bytes]]) -> tuple[hop_pb2.Hop, ...]:
    """The records in trailing metadata, svc1's first; what is no record is left out."""
    values = (value for key, value in trailing if key == HOP_KEY and isinstance(value, bytes))
    return tuple(hop for value in values if (hop := _record(value)) and hop.service)


def _record(value: bytes) -> hop_pb2.Hop | None:
    try:
        return hop_pb2.Hop.FromString(value)
    except DecodeError:
        return None
