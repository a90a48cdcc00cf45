"""Ports on 127.0.0.1 that are ours from before a process listens until after it is gone."""

import errno
import socket

from mesh.errors import MeshError

HOST = "127.0.0.1"


def hold_for_envoy(port: int, option: str) -> socket.socket:
    """Bind a port and never listen on it: an Envoy of ours can listen beside it, and nobody else.

    Two Envoys started on one port share its calls without a word, so the bind itself is made without SO_REUSEPORT
    and finds any other user of the port; only afterwards the option lets our Envoy in.
    Port 0 takes any free one. MeshError, naming the option that moves it, where the port is taken.
    """
    held = hold_for_server(port, option)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return held


def hold_for_server(port: int, option: str) -> socket.socket:
    """The same for a server that refuses to share: it needs SO_REUSEADDR, as grpcio and asyncio set it."""
    sock = socket.socket()
    try:
        # Also because what an earlier process closed lingers in TIME_WAIT and disturbs nobody.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except OSError as error:
        sock.close()
        reason = {errno.EADDRINUSE: "is taken", errno.EACCES: "is not ours to use"}.get(error.errno or 0)
        raise MeshError(
            f"port {port} {reason or error.strerror}: {option} PORT moves it ({option} 0 takes any free one)"
        ) from error
    return sock


def number(held: socket.socket) -> int:
    port: int = held.getsockname()[1]
    return port
