"""A raw HTTP/2 client: sends whatever it is told to, right or wrong, and says how the other side took it."""

import contextlib
import select
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

Headers = Sequence[tuple[bytes, bytes]]

CLOSED = "closed"
SILENT = "silent"
PATIENCE = 10.0

REQUEST: Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/org.feuyeux.grpc.LandingService/Talk"),
    (b":authority", b"hostile"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
# TalkRequest(data="0"), uncompressed, in gRPC's five bytes of framing.
MESSAGE = b"\0\0\0\0\x03\n\x010"


def changed(**fields: bytes | None) -> Headers:
    """The request's headers, changed, added or (None) left out: ``_path`` is ``:path``, ``x_lane`` is ``x-lane``."""
    named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    renamed = {b":" + name[1:] if name.startswith(b"-") else name: value for name, value in named.items()}
    merged: dict[bytes, bytes | None] = {**dict(REQUEST), **renamed}
    return [(name, value) for name, value in merged.items() if value is not None]


def _connected(address: tuple[str, int], patience: float) -> socket.socket:
    """Connects again, as any gRPC client does: a service that listens anew resets what its old socket has queued."""
    for _ in range(10):
        with contextlib.suppress(ConnectionResetError):
            return socket.create_connection(address, timeout=patience)
    return socket.create_connection(address, timeout=patience)


class Peer:
    """One connection, its preface sent. Nothing that it sends is checked."""

    def __init__(self, target: str, patience: float = PATIENCE) -> None:
        host, _, port = target.rpartition(":")
        self._socket = _connected((host, int(port)), patience)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.http = h2.connection.H2Connection(config)
        self._endings: dict[int, str] = {}
        self._closed = False
        self.http.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def flush(self) -> None:
        self.send(self.http.data_to_send())

    def send(self, data: bytes) -> bool:
        """Sends bytes as they are; False once the other side has closed the connection."""
        try:
            self._socket.sendall(data)
        except OSError:
            self._closed = True
        return not self._closed

    def drain(self) -> bool:
        """Throws away what has come so far, so that the other side can go on writing; False once it has closed."""
        while not self._closed and select.select([self._socket], [], [], 0)[0]:
            try:
                self._closed = not self._socket.recv(65_536)
            except OSError:
                self._closed = True
        return not self._closed

    def ask(self, headers: Headers = REQUEST, body: bytes = MESSAGE, trailers: Headers = ()) -> str:
        """Makes a request, which no gRPC client ends with trailers, and waits for its end: see `ending`."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, list(headers))
        self.flush()
        self.upload(stream, body)
        if stream not in self._endings and not self._closed:
            self._end(stream, trailers)
        return self.ending(stream)

    def upload(self, stream: int, body: bytes) -> None:
        """Sends as much of the body as the other side takes."""
        for start in range(0, len(body), 16_384):
            if not self._make_room(stream, len(body[start : start + 16_384])):
                return
            self.http.send_data(stream, body[start : start + 16_384])
            self.flush()

    def _end(self, stream: int, trailers: Headers) -> None:
        if trailers:
            self.http.send_headers(stream, list(trailers), end_stream=True)
        else:
            self.http.end_stream(stream)
        self.flush()

    def _make_room(self, stream: int, size: int) -> bool:
        while stream not in self._endings and not self._closed:
            if self.http.local_flow_control_window(stream) >= size:
                return True
            self._hear()
        return False

    def ending(self, stream: int) -> str:
        """`grpc 12`, `http 415`, `reset 1`, `closed` (the connection, by the other side) or `silent`."""
        while stream not in self._endings and not self._closed:
            if not self._hear():
                return SILENT
        return self._endings.get(stream, CLOSED)

    def is_cut(self) -> bool:
        """Whether the other side closes the connection or says that it is going to, rather than wait."""
        while not self._closed:
            if not self._hear():
                return False
        return True

    def _hear(self) -> bool:
        """Takes in what has come; False where nothing comes."""
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self._closed = True
            return True
        try:
            for event in self.http.receive_data(data):
                self._note(event)
        except h2.exceptions.ProtocolError:  # it takes offence at what we have sent, or at the answer to that
            self._closed = True
        if not self._closed:
            self.flush()
        return True

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            headers = dict(event.headers)
            status = headers.get(b":status", b"200").decode()
            if b"grpc-status" in headers:
                self._endings.setdefault(event.stream_id, f"grpc {headers[b'grpc-status'].decode()}")
            elif status != "200":
                self._endings.setdefault(event.stream_id, f"http {status}")
        elif isinstance(event, h2.events.StreamReset):
            self._endings.setdefault(event.stream_id, f"reset {int(event.error_code)}")
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._closed = True
        elif isinstance(event, h2.events.DataReceived):
            self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
