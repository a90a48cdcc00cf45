"""All spans of a time window from a backend: its searches are capped, so a window is split until its traces fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import httpx

from grpc_tracing.backends.files import documents
from grpc_tracing.backends.jaeger import Source, StoreUnreadable, as_iso, no_connection, search_of, turned_away
from grpc_tracing.spans.formats.documents import spans_of
from grpc_tracing.spans.formats.otlp import MalformedError
from grpc_tracing.spans.model import Span

_CAP: Final = 1000
"""Traces that a search asks for at most: fewer than any backend refuses."""
_PARTS: Final = 64
"""Into so many a window is split at most."""
_LEAST_NS: Final = 10_000_000
_TRIES: Final = 3
_EVERY: Final = ""
"""In place of a service's name: all of them."""
_ANSWER: Final = 30.0
_LATER: Final = frozenset({429, 500, 502, 503, 504})


class Window(NamedTuple):
    """Unix nanoseconds."""

    start: int
    end: int

    def split(self, spans: list[Span]) -> list[Window]:
        """Parts in which as many traces may fit as these spans are of; the more the denser these lie, two at least.

        A backend that answers with the newest traces first shows so how many there are in a while.
        """
        seen = max(span.start_ns for span in spans) - min(span.start_ns for span in spans)
        parts = max(2, min(_PARTS, 2 * (self.end - self.start) // max(seen, 1)))
        edges = [self.start + (self.end - self.start) * number // parts for number in range(parts + 1)]
        return [Window(*pair) for pair in pairwise(edges)]


@dataclass(frozen=True)
class Api:
    """How a backend is asked: its name, where its services are and how they are read, its search."""

    name: str
    services: str
    names: Callable[[Any], list[str]]
    search: str
    parameters: Callable[[str, Window, int], dict[str, str]]


def _named(key: str) -> Callable[[Any], list[str]]:
    return lambda document: [str(one) for one in document[key] or ()]


def _v3(service: str, window: Window, most: int) -> dict[str, str]:
    return search_of(service, window.start, window.end, most)


def _v1(service: str, window: Window, most: int) -> dict[str, str]:
    times = {"start": str(window.start // 1000), "end": str(window.end // 1000)}
    return {"service": service, "limit": str(most)} | times


def _zipkin(service: str, window: Window, most: int) -> dict[str, str]:
    lookback = max(1, (window.end - window.start) // 1_000_000)
    end = -(-window.end // 1_000_000)  # in milliseconds: a span of the last one is in
    return {"serviceName": service, "endTs": str(end), "lookback": str(lookback), "limit": str(most)}


def _plain_list(document: Any) -> list[str]:
    if not isinstance(document, list):
        raise TypeError("it is no list")
    return [str(one) for one in document]


APIS: Final = {
    "jaeger": Api("Jaeger's v3 API", "/api/v3/services", _named("services"), "/api/v3/traces", _v3),
    "jaeger1": Api("Jaeger's first API", "/api/services", _named("data"), "/api/traces", _v1),
    "zipkin": Api("Zipkin", "/api/v2/services", _plain_list, "/api/v2/traces", _zipkin),
}


@dataclass
class Reading:
    """What was read so far: `missing` says in words what was not."""

    spans: int = 0
    traces: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)


async def choose(source: Source, name: str) -> Api:
    """The API of this name, or for `auto` the first that answers. Raises StoreUnreadable."""
    if name != "auto":
        return APIS[name]
    async with source.open() as http:
        for api in APIS.values():
            if await _services(http, api) is not None:
                return api
    raise StoreUnreadable(
        f"{source.url} answers as none of {', '.join(one.name for one in APIS.values())}: is a path prefix missing "
        "from the URL?"
    )


async def read(source: Source, api: Api, window: Window, reading: Reading) -> AsyncIterator[list[Span]]:
    """The spans of all traces in the window, each trace once. Raises StoreUnreadable where nothing can be read."""
    async with source.open() as http:
        names = await _services(http, api)
        if names is None:
            raise StoreUnreadable(f"{source.url} does not answer as {api.name} does: try another --traces-api")
        if await _takes_no_name(http, api, window):
            names = [_EVERY]
        for name in names:
            async for spans in _service(http, api, name, window, reading):
                yield spans


async def _services(http: httpx.AsyncClient, api: Api) -> list[str] | None:
    """None where it is another API's answer."""
    answer = await _ask(http, api.services, {})
    try:
        return api.names(answer.json()) if answer.is_success else None
    except (ValueError, TypeError, KeyError):
        return None


async def _takes_no_name(http: httpx.AsyncClient, api: Api, window: Window) -> bool:
    """Whether a search without a service finds traces: then one finds all, and no trace comes once for each service."""
    try:
        return bool(await _page(http, api, _EVERY, window, Reading(), most=1))
    except StoreUnreadable:
        return False


async def _service(
    http: httpx.AsyncClient, api: Api, name: str, window: Window, reading: Reading
) -> AsyncIterator[list[Span]]:
    waiting = [window]
    while waiting:
        part = waiting.pop()
        spans = await _page(http, api, name, part, reading)
        if len({span.trace_id for span in spans}) >= _CAP:
            if part.end - part.start > _LEAST_NS:
                waiting += reversed(part.split(spans))
                continue
            reading.missing.append(
                f"{name or 'all'}: more than {_CAP} traces in {_LEAST_NS // 1_000_000} ms: the rest is not read"
            )
        yield _new(spans, reading)


def _new(spans: list[Span], reading: Reading) -> list[Span]:
    """Without the traces that another service's search brought."""
    kept = [span for span in spans if span.trace_id not in reading.traces]
    reading.traces.update(span.trace_id for span in kept)
    reading.spans += len(kept)
    return kept


async def _page(
    http: httpx.AsyncClient, api: Api, name: str, window: Window, reading: Reading, *, most: int = _CAP
) -> list[Span]:
    asked = {key: value for key, value in api.parameters(name, window, most).items() if value}
    answer = await _ask(http, api.search, asked)
    if answer.status_code == 404:
        return []
    try:
        answer.raise_for_status()
        return [span for _, document in documents(answer.text) if not _empty(document) for span in spans_of(document)]
    except (httpx.HTTPStatusError, MalformedError, ValueError):
        said = f"{answer.status_code}" if not answer.is_success else "no spans in JSON"
        reading.missing.append(
            f"{name or 'all services'} {as_iso(window.start)} to {as_iso(window.end)}: the backend answered {said}"
        )
        return []


def _empty(document: Any) -> bool:
    """An answer without traces: Jaeger's says so in several ways."""
    if isinstance(document, Mapping) and isinstance(document.get("result"), Mapping):
        document = document["result"]
    return document in ({}, []) or (isinstance(document, Mapping) and document.get("data", 0) is None)


async def _ask(http: httpx.AsyncClient, path: str, parameters: Mapping[str, str]) -> httpx.Response:
    """The answer, asked for again where the backend is busy. Raises StoreUnreadable with the fix."""
    base = str(http.base_url).rstrip("/")
    try:
        for attempt in range(_TRIES):
            answer = await http.get(path, params=dict(parameters), timeout=_ANSWER)
            if answer.status_code not in _LATER:
                break
            await asyncio.sleep(0.2 * (attempt + 1))
    except httpx.TimeoutException:
        raise StoreUnreadable(f"{base} does not answer within {_ANSWER:g}s: ask for less with --last") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StoreUnreadable(no_connection(base, error)) from None
    if said := turned_away(base, answer):
        raise StoreUnreadable(said)
    return answer
