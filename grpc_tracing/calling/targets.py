"""Addresses to call and to listen on, as people write them.

`HOST:PORT`, `[ADDRESS]:PORT`, `:PORT` (this machine, or all its addresses), and the schemes that gRPC resolves: `dns:`,
`ipv4:`, `ipv6:`, `unix:`. Every function raises ValueError with the fix.
"""

import ipaddress
import re
from typing import Final

_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+")
_IP_ADDRESSES: Final = {"ipv4": ipaddress.IPv4Address, "ipv6": ipaddress.IPv6Address}
_UNIX_LONGEST: Final = 107
"""Bytes of a socket's path: sockaddr_un.sun_path holds 108 with its closing zero (unix(7))."""


def target(text: str) -> str:
    """A gRPC target to call; `:9996` is a port of this machine."""
    scheme, colon, rest = text.partition(":")
    if scheme == "unix" and colon:
        _check_unix_path(rest)
    elif scheme in _IP_ADDRESSES and colon:
        for address in rest.split(","):
            _check_ip_address(scheme, split_host_port(address, lowest=1)[0].strip("[]"))
    elif scheme == "dns" and colon:
        _check_dns(text, rest)
    elif not scheme and colon:
        split_host_port(f"localhost{text}", lowest=1)
        return f"localhost{text}"
    else:
        split_host_port(text, lowest=1)
    return text


def listening(text: str) -> str:
    """An address to listen on; `:9996` is that port on all addresses, port 0 any free one."""
    if text.startswith("unix:"):
        _check_unix_path(text.removeprefix("unix:"))
        return text
    address = f"[::]{text}" if text.startswith(":") and text.count(":") == 1 else text
    split_host_port(address, lowest=0)
    return address


def split_host_port(text: str, lowest: int) -> tuple[str, int]:
    """Host, with the brackets of an IPv6 address, and port."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port: write HOST:PORT")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} has no host: write HOST:PORT, or [ADDRESS]:PORT for IPv6")
    if not re.fullmatch(r"\d{1,5}", port) or not lowest <= int(port) <= 65535:
        raise ValueError(f"port {port!r} is out of range: use {lowest} to 65535")
    return host, int(port)


def _check_dns(text: str, rest: str) -> None:
    # dns:[//authority/]host:port, as gRPC's naming document has it.
    match = re.fullmatch(r"(?://[^/]*/)?([^/]+)", rest)
    if not match:
        raise ValueError(f"{text!r} is not a target: write dns:///HOST:PORT")
    split_host_port(match[1], lowest=1)


def _check_ip_address(scheme: str, host: str) -> None:
    try:
        _IP_ADDRESSES[scheme](host)
    except ValueError:
        raise ValueError(f"{host!r} is not an address of {scheme}: for a name write dns:///HOST:PORT") from None


def _check_unix_path(path: str) -> None:
    size = len(path.encode())
    if not 0 < size <= _UNIX_LONGEST:
        raise ValueError(f"socket path {path!r} has {size} bytes: use 1 to {_UNIX_LONGEST}")
