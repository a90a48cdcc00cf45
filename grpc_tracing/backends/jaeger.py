"""The trace backend as the requester uses it: Jaeger's v3 query API, and notes of its calls where they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Span

LIMIT = 10.0  # seconds that all traces together are waited for
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_ANSWER = 2.0  # seconds for one answer
_AT_ONCE = 8
_NOTES_AT_ONCE = 50


class StoreUnreadable(Exception):  # noqa: N818 - reads as what it says
    """The traces could not be read; the message says why."""


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


async def read_traces(url: str, wanted: Sequence[Wanted], limit: float = LIMIT) -> None:
    """Polls the backend for all traces together until each is complete, `limit` s at most. Raises StoreUnreadable."""
    with contextlib.suppress(TimeoutError):
        async with _http(url) as http, asyncio.timeout(limit):
            await _poll_until_done(http, wanted)
    if unread := sum(one.unread for one in wanted):
        raise StoreUnreadable(
            f"{url} has answered for {len(wanted) - unread} of {len(wanted)} traces within {limit:g}s"
        )


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
    try:
        answer = await http.get(f"/api/v3/traces/{trace_id}")
        if answer.status_code in {404, 429, 503}:
            return Found()
        answer.raise_for_status()
        return _found(answer.json())
    except httpx.TimeoutException:
        raise StoreUnreadable(f"{http.base_url} does not answer within {_ANSWER:g}s") from None
    except httpx.HTTPStatusError as error:
        raise StoreUnreadable(f"{http.base_url} answers {error.response.status_code}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StoreUnreadable(f"nothing answers at {http.base_url} ({error})") from None
    except ValueError as error:
        raise StoreUnreadable(f"{http.base_url} answers, but {error}") from None


def _found(document: Any) -> Found:
    result = document.get("result") if isinstance(document, dict) else None
    if not isinstance(result, dict):
        raise ValueError("it is no answer of Jaeger's v3 API")
    try:
        return Found(tuple(otlp.spans_of(otlp.from_document(result).resource_spans)), result)
    except otlp.MalformedError as error:
        raise ValueError("it is no answer of Jaeger's v3 API") from error


async def leave_notes(url: str, notes: Sequence[Mapping[str, Any]]) -> None:
    """Tells the backend of the calls, so that its pages show the verdicts; one that takes no notes is no failure."""
    async with _http(url) as http:
        for start in range(0, len(notes), _NOTES_AT_ONCE):
            with contextlib.suppress(httpx.HTTPError):
                answer = await http.post("/api/calls", json=list(notes[start : start + _NOTES_AT_ONCE]))
                if not answer.is_success:
                    return


def _http(url: str) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(base_url=url, timeout=_ANSWER, trust_env=not is_local(url))
    except (ImportError, ValueError) as error:  # a proxy in the environment that httpx cannot use as installed
        raise StoreUnreadable(f"{url} cannot be asked: {error}") from None


def is_local(url: str) -> bool:
    """True for a URL on this machine: a proxy from the environment never applies to it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
