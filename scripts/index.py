"""Whether a package index takes a connection. Asked first, because pip alone would try for a minute."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from scripts.settings import Settings, clean

PATIENCE = 5.0
"""Seconds for an index, or the proxy in front of it, to take a connection."""


def trouble(python: str, settings: Settings) -> str | None:
    """In a line: who was asked, and what came of it. None where something answers, or nobody is to be asked."""
    url = _url(python, settings)
    asked = _asked(url, settings) if url else None
    if asked is None:
        return None
    what, host, port = asked
    failure = _failure(host, port)
    return f"nothing answers at {what} {host}:{port} ({failure})" if failure else None


def _url(python: str, settings: Settings) -> str | None:
    """Of the index; None where none is wanted, or where pip, which alone knows its default, is not there."""
    if settings.get("no-index"):
        return None
    return os.environ.get("UV_DEFAULT_INDEX") or settings.get("index-url") or _default(python)


def _default(python: str) -> str | None:
    command = [python, "-Im", "pip", "install", "--help"]
    text = subprocess.run(command, env=clean(), capture_output=True, text=True, check=False).stdout
    found = re.search(r"\(default\s+(https://\S+?)\)", text)
    return found[1] if found else None


def _asked(url: str, settings: Settings) -> tuple[str, str, int] | None:
    """Who takes the connection: what it is, host, port. None for an index in a folder."""
    index = urlsplit(url)
    if index.scheme not in ("http", "https") or not index.hostname:
        return None
    named = settings.get("proxy")
    proxy = named or (None if proxy_bypass(index.hostname) else getproxies().get(index.scheme))
    if proxy is None:
        return "the package index", index.hostname, index.port or _port(index.scheme)
    at = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return "the proxy", at.hostname or "", at.port or _port(at.scheme)


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _failure(host: str, port: int) -> str | None:
    found: list[str | None] = [f"no answer within {PATIENCE:g} s"]
    # A thread, because the look-up of a name cannot be given a time.
    asking = threading.Thread(target=_connect, args=(host, port, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found[-1]


def _connect(host: str, port: int, found: list[str | None]) -> None:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
        found.append(None)
    except OSError as error:
        found.append(error.strerror or str(error))
