"""The trace backend as the requester uses it: Jaeger's v3 query API, and notes of its calls where they are taken."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from grpc_tracing.backends.documents import LARGEST
from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Span

LIMIT = 10.0  # seconds that all traces together are waited for
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_ANSWER = 2.0  # seconds for one answer
_AT_ONCE = 8
_NOTES_AT_ONCE = 50
_SEARCHED = 100  # traces
_Read = TypeVar("_Read")


class TooLargeError(Exception):
    """An answer that is too large to be read; the text says how large it is."""


class StoreUnreadable(Exception):  # noqa: N818 - reads as what it says
    """The traces could not be read; the message says why."""


@dataclass(frozen=True)
class Source:
    """A backend to ask, or the `spans` of a file, whose path is the `url` then.

    `headers` go with each request and are never shown; `ca` is a PEM file that vouches for it.
    """

    url: str
    spans: tuple[Span, ...] | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca: Path | None = None

    @classmethod
    def at(cls, url: str, headers: tuple[tuple[str, str], ...] = (), ca: Path | None = None) -> Self:
        """A backend by its URL, whose user and password go into a header, so that no message shows them."""
        parts = urlsplit(url)
        if parts.username is None:
            return cls(url.rstrip("/"), headers=headers, ca=ca)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        basic = ("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        return cls(without_secrets(url).rstrip("/"), headers=(basic, *headers), ca=ca)

    def open(self) -> httpx.AsyncClient:
        """A client for it, which the caller closes. Raises StoreUnreadable."""
        try:
            verify = _trusting(self.ca) if self.ca else True
            return httpx.AsyncClient(
                base_url=self.url,
                timeout=_ANSWER,
                trust_env=not is_local(self.url),
                headers=dict(self.headers),
                verify=verify,
            )
        except (ImportError, ValueError, OSError) as error:  # also a proxy that httpx cannot use as installed
            raise StoreUnreadable(f"{self.url} cannot be asked: {error}") from None


@dataclass(frozen=True)
class Found:
    """A trace so far: its spans, and the OTLP JSON that they were read from; both empty where it is not known yet."""

    spans: tuple[Span, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Wanted:
    """The traces of one call: `complete` says when all is there, `quiet` for how long nothing may have come since."""

    trace_ids: tuple[str, ...]
    complete: Callable[[Sequence[Found]], bool]
    quiet: float = 0.0
    changed_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    _by_id: dict[str, Found] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Found, ...]:
        return tuple(self._by_id.get(trace_id, Found()) for trace_id in self.trace_ids)

    @property
    def unread(self) -> bool:
        """Whether the backend has not answered for a trace at all."""
        return len(self._by_id) < len(self.trace_ids)

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(span for one in self.found for span in one.spans)

    def take(self, trace_id: str, found: Found) -> None:
        before = len(self.spans)
        self._by_id[trace_id] = found
        if len(self.spans) != before:
            self.changed_at = asyncio.get_running_loop().time()

    @property
    def done(self) -> bool:
        return self.complete(self.found) and asyncio.get_running_loop().time() - self.changed_at >= self.quiet


async def read_traces(source: Source, wanted: Sequence[Wanted], limit: float = LIMIT) -> None:
    """Polls the backend for all traces together until each is complete, `limit` s at most. Raises StoreUnreadable."""
    if source.spans is not None:
        _take_all(source.spans, wanted)
        return
    with contextlib.suppress(TimeoutError):
        async with source.open() as http, asyncio.timeout(limit):
            await _poll_until_done(http, wanted)
    if unread := sum(one.unread for one in wanted):
        raise StoreUnreadable(
            f"{source.url} has answered for {len(wanted) - unread} of {len(wanted)} traces within {limit:g}s"
        )


def _take_all(spans: Sequence[Span], wanted: Sequence[Wanted]) -> None:
    for one in wanted:
        for trace_id in one.trace_ids:
            one.take(trace_id, Found(tuple(span for span in spans if span.trace_id == trace_id)))


async def _poll_until_done(http: httpx.AsyncClient, wanted: Sequence[Wanted]) -> None:
    pause = _FIRST_PAUSE
    while open_ones := [one for one in wanted if not one.done]:
        await _poll(http, open_ones)
        if not all(one.done for one in open_ones):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


async def _poll(http: httpx.AsyncClient, open_ones: Sequence[Wanted]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(trace_id: str, wanted_by: Sequence[Wanted]) -> None:
        async with gate:
            found = await _read(http, trace_id)
        for wanted in wanted_by:
            wanted.take(trace_id, found)

    by_id: dict[str, list[Wanted]] = {}
    for wanted in open_ones:
        for trace_id in wanted.trace_ids:
            by_id.setdefault(trace_id, []).append(wanted)
    await asyncio.gather(*(one(trace_id, wanted_by) for trace_id, wanted_by in by_id.items()))


async def _read(http: httpx.AsyncClient, trace_id: str) -> Found:
    answer = await _get(http, f"/api/v3/traces/{trace_id}", {})
    return Found() if answer is None else answer


async def _get(http: httpx.AsyncClient, path: str, parameters: Mapping[str, str]) -> Found | None:
    """None where it is not known, or not yet. Raises StoreUnreadable with the fix."""
    return await _asked(http, path, parameters, _found)


async def _asked(
    http: httpx.AsyncClient, path: str, parameters: Mapping[str, str], read: Callable[[Any], _Read]
) -> _Read | None:
    """What `read` makes of the answer's JSON; it raises ValueError where that is not the API's."""
    base = str(http.base_url).rstrip("/")
    try:
        answer = await bounded(http, path, parameters, _ANSWER)
        if refusal := _refusal(base, answer):
            raise StoreUnreadable(refusal)
        return read(answer.json()) if answer.is_success else None
    except httpx.TimeoutException:
        raise StoreUnreadable(f"{base} does not answer within {_ANSWER:g}s") from None
    except TooLargeError as error:
        raise StoreUnreadable(f"{base} answers with {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StoreUnreadable(no_connection(base, error)) from None
    except ValueError:
        raise StoreUnreadable(_another_api(base, "its answer is not that API's JSON")) from None


async def bounded(http: httpx.AsyncClient, path: str, parameters: Mapping[str, str], seconds: float) -> httpx.Response:
    """The whole answer, unpacked. Raises TooLargeError before it is held, and what httpx raises."""
    async with http.stream("GET", path, params=dict(parameters), timeout=seconds) as answer:
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > LARGEST:
                raise TooLargeError(f"more than {LARGEST // 1024**2} MiB")
    kept = {"content-type", "location"} & answer.headers.keys()
    headers = {key: answer.headers[key] for key in kept}
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


def _refusal(base: str, answer: httpx.Response) -> str:
    """Why an answer cannot be used; empty for one that can, and for one that says `not yet`."""
    code = answer.status_code
    if said := turned_away(base, answer):
        return said
    if code in {429, 503}:
        return ""
    if code == 404:
        return "" if _says_not_found(answer) else _another_api(base, "404 without that API's JSON")
    return "" if answer.is_success else f"{base} answers {code}"


def turned_away(base: str, answer: httpx.Response) -> str:
    """Why a backend of any API lets nobody in, with the option that helps; empty where it does.

    A redirect is followed by nobody, so that no other host gets the credentials.
    """
    if answer.status_code in {401, 403}:
        return f"{base} wants credentials ({answer.status_code}): give --traces-header 'Authorization: Bearer …'"
    if answer.is_redirect:
        goal, _, _ = answer.headers.get("location", "elsewhere").partition("?")  # behind it may be a token
        return f"{base} redirects to {without_secrets(goal)}: give that URL to --traces"
    return ""


def _says_not_found(answer: httpx.Response) -> bool:
    try:
        return bool(answer.json()["error"]["httpCode"] == 404)
    except (ValueError, KeyError, TypeError):
        return False


def _another_api(base: str, what: str) -> str:
    return (
        f"{base} does not answer as Jaeger's v3 API does ({what}): is it another backend's API (--traces-api), or is "
        "a path prefix missing from the URL?"
    )


def no_connection(base: str, error: Exception, ca_option: str = "--traces-ca") -> str:
    """Why nothing was answered, with the option that helps."""
    _, refused, why = str(error).partition("certificate verify failed: ")
    if not refused:
        return f"nothing answers at {base} ({error})"
    if "issuer" in why or "self-signed" in why or "self signed" in why:  # the words of OpenSSL 3 and 1
        return f"{base} shows a certificate of an unknown CA: give {ca_option} FILE"
    return f"{base} shows a certificate that does not hold: {why.partition(' (_ssl')[0]}"


def _trusting(ca: Path) -> ssl.SSLContext:
    """As before Python 3.13, whose default also refuses what many private CAs leave out, such as key identifiers."""
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def search(source: Source, services: Collection[str], start_ns: int, end_ns: int) -> tuple[Span, ...]:
    """The spans of all traces in a window in which one of these services took part, `_SEARCHED` traces each."""
    if source.spans is not None:
        return tuple(span for span in source.spans if start_ns <= span.start_ns <= end_ns)
    spans: dict[tuple[str, str, str], Span] = {}
    async with source.open() as http:
        for service in services:
            found = await _get(http, "/api/v3/traces", search_of(service, start_ns, end_ns, _SEARCHED))
            for span in found.spans if found else ():
                spans[span.trace_id, span.span_id, span.kind] = span
    return tuple(spans.values())


def search_of(service: str, start_ns: int, end_ns: int, most: int) -> dict[str, str]:
    """The parameters of a search for `most` traces of a service in a window.

    In snake case, which all of Jaeger 2 reads; camel case came later, and so did `search_depth` for `num_traces`.
    """
    return {
        "query.service_name": service,
        "query.start_time_min": as_iso(start_ns),
        "query.start_time_max": as_iso(end_ns),
        "query.num_traces": str(most),
        "query.search_depth": str(most),
    }


def as_iso(ns: int) -> str:
    """Unix nanoseconds as RFC 3339 writes them, in microseconds."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def services(source: Source) -> tuple[str, ...]:
    """The service names that the backend knows. Raises StoreUnreadable."""
    if source.spans is not None:
        return tuple(dict.fromkeys(span.service for span in source.spans))
    async with source.open() as http:
        return await _asked(http, "/api/v3/services", {}, _names) or ()


def _names(document: Any) -> tuple[str, ...]:
    if not isinstance(document, dict) or not isinstance(document.get("services"), list):
        raise ValueError("it is no answer of Jaeger's v3 API")
    return tuple(map(str, document["services"]))


def _found(document: Any) -> Found:
    result = document.get("result") if isinstance(document, dict) else None
    if not isinstance(result, dict):
        raise ValueError("it is no answer of Jaeger's v3 API")
    try:
        return Found(tuple(otlp.spans_of(otlp.from_document(result).resource_spans)), result)
    except otlp.MalformedError as error:
        raise ValueError("it is no answer of Jaeger's v3 API") from error


async def leave_notes(source: Source, notes: Sequence[Mapping[str, Any]]) -> None:
    """Tells the backend of the calls, so that its pages show the verdicts; one that takes no notes is no failure."""
    if source.spans is not None:
        return
    async with source.open() as http:
        for start in range(0, len(notes), _NOTES_AT_ONCE):
            with contextlib.suppress(httpx.HTTPError):
                answer = await http.post("/api/calls", json=list(notes[start : start + _NOTES_AT_ONCE]))
                if not answer.is_success:
                    return


def without_secrets(url: str) -> str:
    """The URL without user and password, for messages; what is no URL stays as it is."""
    before, slashes, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{before}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def is_local(url: str) -> bool:
    """True for a URL on this machine: a proxy from the environment never applies to it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
