"""Where spans are passed on to, and how: OTLP over HTTP or gRPC."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import grpc
import httpx
from google.protobuf.message import DecodeError
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from grpc_tracing.backends.credentials import Headers
from grpc_tracing.backends.jaeger import Source, no_connection, without_secrets
from grpc_tracing.calling.channel import Tls, open_channel
from grpc_tracing.printable import one_line

_ANSWER: Final = 10.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries."""
_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
_NEVER: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_CREDENTIALS: Final = "give --forward-header 'Authorization: Bearer …', or @FILE"
_HEADERS: Final = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
_LONGEST: Final = 64 * 1024
"""Bytes of an answer that are read."""
_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PATH: Final = "/v1/traces"


class Goal(NamedTuple):
    """Where spans are passed on to: `grpc` for OTLP over gRPC, else over HTTP. `headers` are never shown."""

    url: str
    grpc: bool
    tls: bool
    headers: Headers
    ca: Path | None


def goal(url: str, headers: Headers, ca: Path | None) -> Goal:
    """Of an option's words. ValueError says how to write it, and shows no user or password of the URL."""
    scheme, shown = url.partition("://")[0], without_secrets(url)
    if scheme not in {"http", "https", "grpc", "grpcs"}:
        raise ValueError(f"{shown!r}: write http://HOST:PORT, https://…, grpc://HOST:PORT or grpcs://…")
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("it names no host")
    except ValueError as error:
        raise ValueError(f"{shown!r} is no URL: {error}") from None
    if scheme.startswith("grpc") and (not parts.port or parts.path.strip("/")):
        raise ValueError(f"{shown!r}: write {scheme}://HOST:PORT, and no path")
    if ca:
        if scheme in {"http", "grpc"}:
            raise ValueError(f"a CA is for https:// and grpcs://, not for {shown}")
        _check(ca)
    source = Source.at(url, headers, ca)
    return Goal(source.url, scheme.startswith("grpc"), scheme.endswith("s"), source.headers, ca)


def _check(ca: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(ca))
    except OSError as error:  # what holds no certificate is an ssl.SSLError, which is one
        raise ValueError(f"the CA file {ca} cannot be used: {error.strerror or error}") from None


class TurnedAwayError(Exception):
    """The spans will never be taken; the text says why, and the option that helps."""


class NotNowError(Exception):
    """They may be taken later; `wait` are the seconds that the other side asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Sender(Protocol):
    """Sends a batch and says how many of its spans were rejected. Raises TurnedAwayError, NotNowError."""

    async def send(self, body: bytes) -> int: ...

    async def close(self) -> None: ...


def sender(goal: Goal) -> Sender:
    """To be closed by whoever asks for it."""
    return _Grpc(goal) if goal.grpc else _Http(goal)


class _Http:
    """OTLP over HTTP, in protobuf."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._http = Source(goal.url, headers=goal.headers, ca=goal.ca).open()
        self._http.timeout = httpx.Timeout(_ANSWER)
        path = urlsplit(goal.url).path.rstrip("/")
        self._path = "" if path.endswith(_PATH) else _PATH

    async def send(self, body: bytes) -> int:
        packed = await asyncio.to_thread(gzip.compress, body, 1)
        try:
            async with self._http.stream(
                "POST", self._path, content=packed, headers=_HEADERS, timeout=_ANSWER
            ) as answer:
                return self._read(answer, await _beginning(answer))
        except httpx.TimeoutException:
            raise NotNowError(f"{self._goal.url} does not answer within {_ANSWER:g}s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotNowError(no_connection(self._goal.url, error, "--forward-ca")) from None

    def _read(self, answer: httpx.Response, body: bytes) -> int:
        url, code = f"{self._goal.url}{self._path}", answer.status_code
        if answer.is_success and "html" not in answer.headers.get("content-type", ""):
            return _rejected(body)
        if code in _LATER:
            raise NotNowError(f"{url} answers {code}", _seconds(answer.headers.get("retry-after", "")))
        if code in {401, 403}:
            raise TurnedAwayError(f"{url} wants credentials ({code}): {_CREDENTIALS}")
        if answer.is_redirect:
            goal, _, _ = answer.headers.get("location", "elsewhere").partition("?")  # behind it may be a token
            raise TurnedAwayError(
                f"{url} redirects to {one_line(without_secrets(goal))[:200]}: give that URL to --forward"
            )
        if code in {404, 405} or answer.is_success:
            what = "with a page" if answer.is_success else str(code)
            raise TurnedAwayError(
                f"{url} answers {what}: does it take OTLP over HTTP, and is a path missing from the URL?"
            )
        raise TurnedAwayError(f"{url} answers {code}: {one_line(body.decode(errors='replace'))[:200]}")

    async def close(self) -> None:
        await self._http.aclose()


async def _beginning(answer: httpx.Response) -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _LONGEST:
            break
    return body[:_LONGEST]


def _rejected(body: bytes) -> int:
    """How many spans the answer says are not kept."""
    try:
        return max(0, ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:  # one in JSON, or none
        return 0


def _seconds(text: str) -> float:
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


class _Grpc:
    """OTLP over gRPC."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        target = goal.url.partition("://")[2]
        ca = goal.ca.read_bytes() if goal.ca else None
        self._channel = open_channel(target, Tls(ca) if goal.tls else None, None, _ANSWER)
        self._metadata = tuple((key.lower(), value) for key, value in goal.headers)

    async def send(self, body: bytes) -> int:
        export: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_EXPORT)
        try:
            answer = await export(body, timeout=_ANSWER, metadata=self._metadata, compression=grpc.Compression.Gzip)
        except aio.AioRpcError as error:
            raise self._refusal(error) from None
        return _rejected(answer)

    def _refusal(self, error: aio.AioRpcError) -> TurnedAwayError | NotNowError:
        url, code = self._goal.url, error.code()
        said = f"{url} answers {code.name}: {one_line(error.details() or '')[:200]}"
        if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
            return TurnedAwayError(f"{url} wants credentials ({code.name}): {_CREDENTIALS}")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return TurnedAwayError(f"{url} serves no OTLP over gRPC: is it another port, or --forward http://…?")
        return TurnedAwayError(said) if code in _NEVER else NotNowError(said)

    async def close(self) -> None:
        await self._channel.close()
