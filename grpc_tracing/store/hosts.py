"""Whom the pages answer: no name that somebody else's DNS may have pointed here (DNS rebinding).

A browser tells in `Host` which name the user's address bar or a foreign page's script went to. Addresses are not names:
nobody can point them anywhere.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK = ("localhost", "*.localhost")
_PATTERN = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


def pattern(text: str) -> str:
    """A host's name, or `*.` and a domain for all names below it. ValueError says how to write one."""
    lowered = text.lower()
    if not _PATTERN.fullmatch(lowered):
        raise ValueError(f"{text!r} is no name of a host: write one such as traces.example, or *.example")
    return lowered


class AllowedHosts:
    """Answers 403 to requests under any other name."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = (*_LOOPBACK, *allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        if not host or self._allows(_name(host)):
            await self._app(scope, receive, send)
            return
        text = f"this store does not answer as {_name(host)[:100]!r}; --allowed-host NAME allows a name\n"
        await PlainTextResponse(text, 403)(scope, receive, send)

    def _allows(self, name: str) -> bool:
        return _is_address(name) or any(_fits(name, allowed) for allowed in self._allowed)


def _name(host: str) -> str:
    """Without the port; what is no host at all stays as it is, and is no allowed name."""
    try:
        return urlsplit(f"//{host}").hostname or host
    except ValueError:
        return host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _fits(name: str, allowed: str) -> bool:
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed
