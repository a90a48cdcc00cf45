"""Addresses on which this process alone listens, with one server after another.

A server that takes over listens before the one before it stops: nobody who connects finds the address empty.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import grpc

from grpc_tracing.calling.targets import split_host_port
from talk.config import ConfigError, ServerTls

_SHARE_PORTS: Final = getattr(socket, "SO_REUSEPORT", None)  # not on Windows
SHARED: Final = (("grpc.so_reuseport", int(_SHARE_PORTS is not None)),)
"""Options of a server that listens beside others of this process; `hold` keeps other processes away."""


class Place(Protocol):
    """An address that is held; `told` has the port that was chosen."""

    told: str

    def add_to(self, server: grpc.aio.Server, tls: ServerTls | None) -> None:
        """Lets the server listen here once it starts. ConfigError where it cannot."""

    def release(self) -> None:
        """Leaves the address to whoever comes next."""


@contextlib.contextmanager
def hold(addresses: Sequence[str]) -> Iterator[tuple[Place, ...]]:
    """Holds the addresses until the block ends; ConfigError where another process listens on one."""
    with contextlib.ExitStack() as held:
        places = [_place(address) for address in addresses]
        for place in places:
            held.callback(place.release)
        yield tuple(places)


def _place(address: str) -> Place:
    return _UnixPlace(address) if address.startswith("unix:") else _TcpPlace(address)


class _TcpPlace:
    """Held by sockets that never listen.

    They are bound without SO_REUSEPORT, which finds any other user of the port, and get it afterwards, which lets our
    servers in. With that option alone, a second process would get every other call without a word.
    """

    def __init__(self, address: str) -> None:
        host, port = split_host_port(address, lowest=0)
        self._held: list[socket.socket] = []
        try:
            for family, *_, where in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
                self._held.append(_bound(family, str(where[0]), port))
                port = self._held[-1].getsockname()[1]
        except OSError as error:
            self.release()
            raise _unusable(address) from error
        self.told = f"{host}:{port}"

    def add_to(self, server: grpc.aio.Server, tls: ServerTls | None) -> None:
        _add(server, self.told, tls, self.told)

    def release(self) -> None:
        for one in self._held:
            one.close()


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is socket.AF_INET6 and host == "::":
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as gRPC listens
        # What an earlier process closed lingers in TIME_WAIT and disturbs nobody.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        if _SHARE_PORTS is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            one.setsockopt(socket.SOL_SOCKET, _SHARE_PORTS, 1)
    except OSError:
        one.close()
        raise
    return one


class _UnixPlace:
    """Held by the file at the path, which each server's socket is moved to.

    gRPC unlinks the path that it was given when its server stops: by then another server's socket may be there.
    """

    def __init__(self, address: str) -> None:
        self.told = address
        self._path = Path(address.removeprefix("unix:"))
        self._moved = 0
        self._numbers = itertools.count()
        if not self._path.parent.is_dir():
            raise ConfigError(f"cannot listen on {address}: no folder {self._path.parent}; make it, or set TALK_LISTEN")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(os.fspath(self._path)) not in (errno.ENOENT, errno.ECONNREFUSED):
                raise ConfigError(
                    f"cannot listen on {address}: another process does, or it is no socket; set TALK_LISTEN"
                )

    def add_to(self, server: grpc.aio.Server, tls: ServerTls | None) -> None:
        bound = self._path.with_name(f".{os.getpid():x}-{next(self._numbers):x}")
        _add(server, f"unix:{bound}", tls, self.told)
        bound.replace(self._path)
        self._moved = self._path.stat().st_ino

    def release(self) -> None:
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._moved:  # not another process's that has come since
                self._path.unlink()


def _add(server: grpc.aio.Server, address: str, tls: ServerTls | None, told: str) -> None:
    try:
        if tls:
            server.add_secure_port(address, _credentials(tls))
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise _unusable(told) from error


def _unusable(address: str) -> ConfigError:
    return ConfigError(f"cannot listen on {address}: taken, or not an address of this machine; set TALK_LISTEN")


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.cert.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )
