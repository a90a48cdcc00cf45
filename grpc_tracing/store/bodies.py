"""Request bodies: read within bounds of bytes and time, unpacked within the same, refused with the status that fits."""

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A batch of 512 spans, the usual export, has some 500 kB.
MAX_BODY = 8 * 1024**2
# What is read and thrown away of a longer body, so that its sender is done sending and reads the answer.
MAX_DISCARDED = 64 * 1024**2
# Bodies under way may hold so much together; the first bytes of each count for nothing, so that uploads which never end
# cannot shut the usual small ones out.
_MAX_TOGETHER = 64 * 1024**2
_UNCOUNTED = 64 * 1024
# Seconds from a request's head to the end of its body. Exporters give up after ten themselves.
WITHIN = 10.0
# 2^23 bytes: a frame whose window is larger than MAX_BODY cannot be worth it.
_ZSTD: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


class RefusedError(Exception):
    """A request that cannot be served: the HTTP status and one line for the sender."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def headers(self) -> dict[str, str]:
        """503 is for a moment: exporters that are told when try again."""
        return {"Retry-After": "1"} if self.status == 503 else {}


def too_long() -> RefusedError:
    """The same words whichever way the body came."""
    return RefusedError(413, f"the body is longer than {MAX_BODY // 1024**2} MiB; send smaller batches")


def too_slow() -> RefusedError:
    return RefusedError(408, f"the body did not come within {WITHIN:.0f} s")


class Bodies:
    """Reads bodies, all within one bound; not for threads."""

    def __init__(self) -> None:
        self.held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, unpacked; it counts as held until the block ends. Raises RefusedError."""
        unpack = _unpacker(request.headers.get("content-encoding", "identity").lower())
        body = _Body(self)
        try:
            async with asyncio.timeout(WITHIN):
                packed = await body.read(request)
            yield unpack(packed)
        except TimeoutError:
            raise too_slow() from None
        finally:
            body.release()


class _Body:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._bytes = bytearray()
        self._held = 0

    async def read(self, request: Request) -> bytes:
        discarded = 0
        async for part in request.stream():
            if discarded or len(self._bytes) + len(part) > MAX_BODY:
                discarded += len(self._bytes) + len(part)
                self.release()
            else:
                self._add(part)
            if discarded > MAX_DISCARDED:
                break
        if discarded:
            raise too_long()
        return bytes(self._bytes)

    def _add(self, part: bytes) -> None:
        more = max(0, len(self._bytes) + len(part) - _UNCOUNTED) - self._held
        if self._bodies.held + more > _MAX_TOGETHER:
            raise RefusedError(503, "other bodies take all the room; try again in a second")
        self._bytes += part
        self._held += more
        self._bodies.held += more

    def release(self) -> None:
        self._bytes = bytearray()
        self._bodies.held -= self._held
        self._held = 0


def _unpacker(encoding: str) -> Callable[[bytes], bytes]:
    known = {"identity": _as_it_is, "gzip": _gunzip, "deflate": _inflate, "zstd": _unzstd}
    if encoding not in known:
        raise RefusedError(415, f"content-encoding {encoding!r} is not known; use gzip, deflate, zstd or none")
    return known[encoding]


def _as_it_is(body: bytes) -> bytes:
    return body


def _gunzip(body: bytes) -> bytes:
    return _unpack(zlib.decompressobj(wbits=31), body, "gzip")


def _inflate(body: bytes) -> bytes:
    """HTTP's deflate is zlib's format (RFC 9110, 8.4.1.2)."""
    return _unpack(zlib.decompressobj(wbits=15), body, "deflate")


def _unzstd(body: bytes) -> bytes:
    return _unpack(zstd.ZstdDecompressor(options=_ZSTD), body, "zstd")


def _unpack(unpacker: "zlib._Decompress | zstd.ZstdDecompressor", body: bytes, name: str) -> bytes:
    try:
        plain = unpacker.decompress(body, MAX_BODY + 1)
    except (zlib.error, zstd.ZstdError) as error:
        raise RefusedError(400, f"the body is no {name}: {error}") from error
    if len(plain) > MAX_BODY:
        raise too_long()
    if not unpacker.eof or unpacker.unused_data:
        raise RefusedError(400, f"the body is no whole {name} stream")
    return plain
