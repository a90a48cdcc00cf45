"""The hop record: what one hop says of a call in its trailing metadata, so that a caller can read the path in order."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from grpc_tracing.headers.families import HOP_RECORD, Pair
from grpc_tracing.headers.forwarding import KEY_ONLY, Received
from protos.hop_pb2 import REFUSED, UNLISTED, Header, Hop

RECORD_LIMIT: Final = 1024
"""Bytes of an encoded record at most."""
TRAILERS_LIMIT: Final = 6 * 1024
"""Bytes of trailing metadata past which a record is shortened: a caller refuses trailers at 8 KiB by default."""
_TRAILERS_CEILING: Final = 7 * 1024 + 512
"""Bytes past which even a shortened record is left out: a record must never make a call fail."""
_WHOLE_VALUE: Final = 256
_PREFIX: Final = 64
_DIGEST: Final = 8

_UNQUOTED: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""What stands for itself in grpc-message (gRPC over HTTP/2, Responses)."""

_IDENTITY: Final = re.compile(r'URI=("?)([^";,]*)\1')


def peer_identity(metadata: Sequence[Pair], peer: str) -> str:
    """The caller's workload identity, as the sidecar in front says it, else gRPC's own peer.

    A proxy that appends puts its direct caller last. Without a sidecar any client may write this header: it names,
    it does not prove.
    """
    certificates = [value for key, value in metadata if key == "x-forwarded-client-cert" and isinstance(value, str)]
    found = _IDENTITY.findall(certificates[-1]) if certificates else ()
    return str(found[-1][1])[:_WHOLE_VALUE] if found else peer


def note_headers(record: Hop, received: Sequence[Received]) -> None:
    """Puts each received header into the record, once and in order."""
    add = record.headers.add
    for key, value, decision in received:
        header = add()
        header.key = key
        if decision:  # FORWARDED, the most frequent, is the default
            header.decision = decision  # type: ignore[assignment]  # the same numbers
            if decision in KEY_ONLY:
                continue
        raw = value.encode() if isinstance(value, str) else value
        if len(raw) <= _WHOLE_VALUE:
            header.value = raw
        else:
            _excerpt(header, raw)


def _excerpt(header: Header, value: bytes) -> None:
    header.value = value[:_PREFIX]
    header.length = len(value)
    header.sha256 = hashlib.sha256(value).digest()


def add(record: Hop, later: Sequence[Pair], message: str = "") -> tuple[Pair, ...]:
    """Puts `record` in front of what came from later hops, shortened or left out where it would be too much.

    `message` is the status's, which takes its part of the trailers too.
    """
    encoded = _within_limit(record)
    size = sum([_cost(key, value) for key, value in later])
    if message:
        size += _cost("grpc-message", quote(message, _UNQUOTED))
    if size + _cost(HOP_RECORD, encoded) > TRAILERS_LIMIT:
        encoded = _shortened(record).SerializeToString()
    if size + _cost(HOP_RECORD, encoded) > _TRAILERS_CEILING:
        return tuple(later)
    return ((HOP_RECORD, encoded), *later)


def _within_limit(record: Hop) -> bytes:
    """Encodes the record in at most `RECORD_LIMIT` bytes, giving up the least telling part first."""
    encoded = record.SerializeToString()
    for make_smaller in (_digest_values, _drop_bare_keys, _shortened):
        if len(encoded) <= RECORD_LIMIT:
            break
        record = make_smaller(record)
        encoded = record.SerializeToString()
    return encoded


def _digest_values(record: Hop) -> Hop:
    """Puts length and digest in place of values, longest first, until the record fits."""
    for header in sorted(record.headers, key=lambda header: len(header.value), reverse=True):
        if record.ByteSize() <= RECORD_LIMIT or len(header.value) + len(header.sha256) <= _DIGEST:
            break
        digest = header.sha256 or hashlib.sha256(header.value).digest()
        header.length = header.length or len(header.value)
        header.sha256 = digest[:_DIGEST]
        header.value = b""
    return record


def _drop_bare_keys(record: Hop) -> Hop:
    kept = [header for header in record.headers if header.decision not in (REFUSED, UNLISTED)]
    del record.headers[:]
    record.headers.extend(kept)
    return record


def _shortened(record: Hop) -> Hop:
    return Hop(
        service=record.service,
        version=record.version,
        trace_id=record.trace_id[:64],
        status=record.status,
        shortened=True,
    )


def is_from_next_hop(trailers: Sequence[Pair]) -> bool:
    """True where the answer holds a record: the status is a hop's own, not a library's or a proxy's."""
    return HOP_RECORD in dict(trailers)


def _cost(key: str, value: str | bytes) -> int:
    # Metadata size as HTTP/2 counts it (RFC 9113 10.5.1), of bytes in the base64 that all but gRPC's core send them in.
    return len(key) + (len(value) if isinstance(value, str) else (len(value) + 2) // 3 * 4) + 32
