"""Both ends of a hop on raw HTTP/2: a caller that cuts its uploads, and a last hop that tells how each ended."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events

from talk.relay import SERVICES
from tests.support.stub import ask

HALF_CLOSED, RESET, GONE = "half-closed", "reset", "connection gone"

WINDOW = 16 * 1024 * 1024
MESSAGE = b"\0" + len(ask("0")).to_bytes(4, "big") + ask("0")


class WireLeaf:
    """Reads requests and never answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began: set[tuple[int, int]] = set()
        self._endings: dict[tuple[int, int], str] = {}
        self.headers: list[tuple[bytes, bytes]] = []
        """Of the last call."""

    @property
    def began(self) -> int:
        """Calls of which some of a message has come."""
        with self._lock:
            return len(self._began)

    @property
    def endings(self) -> Counter[str]:
        """How many of the requests came to which end; the first one of each counts."""
        with self._lock:
            return Counter(self._endings.values())

    def serve(self, connection: socket.socket) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        http.local_settings.initial_window_size = WINDOW
        http.initiate_connection()
        http.increment_flow_control_window(WINDOW)
        with contextlib.suppress(OSError):
            connection.sendall(http.data_to_send())
            while data := connection.recv(65_536):
                for event in http.receive_data(data):
                    self._note(connection.fileno(), http, event)
                connection.sendall(http.data_to_send())
        self._gone(connection.fileno())

    def _note(self, connection: int, http: h2.connection.H2Connection, event: Any) -> None:
        with self._lock:
            if isinstance(event, h2.events.RequestReceived):
                self.headers = list(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self._began.add((connection, event.stream_id))
                if event.flow_controlled_length:
                    http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._endings.setdefault((connection, event.stream_id), HALF_CLOSED)
            elif isinstance(event, h2.events.StreamReset):
                self._endings.setdefault((connection, event.stream_id), RESET)

    def _gone(self, connection: int) -> None:
        with self._lock:
            for call in self._began:
                if call[0] == connection:
                    self._endings.setdefault(call, GONE)


@contextlib.contextmanager
def wire_leaf() -> Iterator[tuple[str, WireLeaf]]:
    """Gives the address to call and the leaf behind it."""
    leaf, connections = WireLeaf(), contextlib.ExitStack()
    with connections, socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    # Kept open, for a file number names a connection in the leaf.
                    connection = connections.enter_context(listener.accept()[0])
                    threading.Thread(target=leaf.serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", leaf


def free_address() -> str:
    """An address of the loopback at which nobody listens, for a program that does not tell which port it got."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


class WireCaller:
    """Begins uploads on one connection and ends none of them by itself."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._http = h2.connection.H2Connection()
        self._http.initiate_connection()
        self._flush()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def begin(self, rpc: str, timeout: str | None = None, more: Sequence[tuple[str, str | bytes]] = ()) -> int:
        """Sends the headers and a message; gives the stream's number. `timeout` is such as ``300m``."""
        stream = self._http.get_next_available_stream_id()
        headers: list[tuple[str, str | bytes]] = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/{SERVICES[0]}/{rpc}"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *more,
        ]
        self._http.send_headers(stream, headers + ([("grpc-timeout", timeout)] if timeout else []))
        self._http.send_data(stream, MESSAGE)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes) -> None:
        self._http.send_data(stream, data)
        self._flush()

    def reset(self, stream: int) -> None:
        self._http.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def half_close(self, stream: int) -> None:
        self._http.end_stream(stream)
        self._flush()

    def vanish(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._reading.join()

    def abort(self) -> None:
        """Vanishes by a reset of the connection, which leaves no goodbye to what was sent before it."""
        at_once = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the reader, and sends nothing
        self._reading.join()
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self._http.data_to_send())

    def _read(self) -> None:
        """Throws away what comes: a hop that cannot write to its caller might wait."""
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass
