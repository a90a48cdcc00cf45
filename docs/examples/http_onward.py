"""HTTP clients behind a gRPC server: `httpx` by a hook, `requests` by an authenticator, which each request passes."""

from __future__ import annotations

import httpx
import requests
from requests.auth import AuthBase

from grpc_tracing.propagation import outgoing


def as_http() -> dict[str, str]:
    """The current call's headers. HTTP joins values of one key by a comma, and has no `-bin` keys."""
    joined: dict[str, str] = {}
    for key, value in outgoing():
        if isinstance(value, str):
            joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def httpx_client() -> httpx.Client:
    def put(request: httpx.Request) -> None:
        request.headers.update(as_http())

    return httpx.Client(event_hooks={"request": [put]})


def httpx_async_client() -> httpx.AsyncClient:
    async def put(request: httpx.Request) -> None:
        request.headers.update(as_http())

    return httpx.AsyncClient(event_hooks={"request": [put]})


class _Headers(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(as_http())
        return request


def requests_session() -> requests.Session:
    session = requests.Session()
    session.auth = _Headers()
    return session
