"""A last hop on raw HTTP/2, for answers with headers that no gRPC library would send."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import h2.config
import h2.connection
import h2.events

Headers = Sequence[tuple[bytes, bytes]]

_EMPTY_MESSAGE = b"\0\0\0\0\0"
_CONFIG = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)


@contextlib.contextmanager
def raw_hop(headers: Headers) -> Iterator[str]:
    """Serves one connection on the address that it gives: every answer has `headers` before and after its message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, headers), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _serve(listener: socket.socket, headers: Headers) -> None:
    http = h2.connection.H2Connection(_CONFIG)
    with contextlib.suppress(OSError), listener.accept()[0] as caller:
        http.initiate_connection()
        caller.sendall(http.data_to_send())
        while data := caller.recv(65_536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    _answer(http, event.stream_id, headers)
            caller.sendall(http.data_to_send())


def _answer(http: h2.connection.H2Connection, stream: int, headers: Headers) -> None:
    http.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/grpc"), *headers])
    http.send_data(stream, _EMPTY_MESSAGE)
    http.send_headers(stream, [(b"grpc-status", b"0"), *headers], end_stream=True)
