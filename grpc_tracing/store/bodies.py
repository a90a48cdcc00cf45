"""Request bodies: read within a bound, unpacked within the same bound, refused with the status that fits."""

import zlib

from starlette.requests import Request

# A batch of 512 spans, the usual export, has some 500 kB.
MAX_BODY = 8 * 1024**2
# What is read and thrown away of a longer body, so that its sender is done sending and reads the answer.
MAX_DISCARDED = 64 * 1024**2


class RefusedError(Exception):
    """A request that cannot be served: the HTTP status and one line for the sender."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def too_long() -> RefusedError:
    """The same words whichever way the body came."""
    return RefusedError(413, f"the body is longer than {MAX_BODY // 1024**2} MiB; send smaller batches")


async def read_body(request: Request) -> bytes:
    """The body, unpacked. Raises RefusedError."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise RefusedError(415, f"content-encoding {encoding!r} is not known; use gzip or none")
    body = await _read(request)
    return _unpack(body) if encoding == "gzip" else body


async def _read(request: Request) -> bytes:
    body = bytearray()
    discarded = 0
    async for part in request.stream():
        if discarded or len(body) + len(part) > MAX_BODY:
            discarded += len(body) + len(part)
            body.clear()
        else:
            body += part
        if discarded > MAX_DISCARDED:
            break
    if discarded:
        raise too_long()
    return bytes(body)


def _unpack(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise RefusedError(400, f"the body is no gzip: {error}") from error
    if len(plain) > MAX_BODY:
        raise too_long()
    if not unpacker.eof or unpacker.unused_data:
        raise RefusedError(400, "the body is no whole gzip stream")
    return plain
