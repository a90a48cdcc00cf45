"""All spans of a time window from a backend: its searches are capped, so a window is split until its traces fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import httpx

from grpc_tracing.backends.apis import APIS, Api, Starts, Window
from grpc_tracing.backends.files import documents
from grpc_tracing.backends.jaeger import (
    Source,
    StoreUnreadable,
    TooLargeError,
    as_iso,
    bounded,
    no_connection,
    turned_away,
)
from grpc_tracing.spans.formats.documents import spans_of
from grpc_tracing.spans.model import Span

_CAP: Final = 1000
"""Traces that a search asks for at most: fewer than any backend refuses."""
_PARTS: Final = 64
"""Into so many a window is split at most."""
_TRIES: Final = 3
_AT_ONCE: Final = 8
"""Traces that are asked for by id at the same time."""
_EVERY: Final = ""
"""In place of a service's name: all of them."""
_ANSWER: Final = 30.0
_HALVED: Final = 32
"""So often windows are halved because an answer is too large: a backend that never ends one keeps nobody for long."""
_LATER: Final = frozenset({429, 500, 502, 503, 504})


@dataclass
class Reading:
    """What was read so far: `missing` says in words what was not."""

    spans: int = 0
    traces: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    halved: int = 0

    def miss(self, name: str, window: Window, said: str) -> None:
        self.missing.append(
            f"{name or 'all services'} {as_iso(window.start)} to {as_iso(window.end)}: the backend answered {said}"
        )


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


async def read(
    source: Source, api: Api, window: Window, reading: Reading, names: Sequence[str] = ()
) -> AsyncIterator[list[Span]]:
    """The spans of all traces in the window, or of those in which one of the services `names` took part; each trace
    once. Raises StoreUnreadable where nothing can be read."""
    async with source.open() as http:
        for name in names or await _all_names(source, http, api, window):
            async for spans in _service(http, api, name, window, reading):
                yield spans


async def _all_names(source: Source, http: httpx.AsyncClient, api: Api, window: Window) -> list[str]:
    names = await _services(http, api)
    if names is None:
        raise StoreUnreadable(f"{source.url} does not answer as {api.name} does: try another --traces-api")
    return [_EVERY] if await _takes_no_name(http, api, window) else names


async def read_trace(http: httpx.AsyncClient, api: Api, trace_id: str) -> list[Span]:
    """The spans of a trace; none where the backend does not know it, or not yet. Raises StoreUnreadable."""
    answer = await _ask(http, f"{api.trace}{trace_id}", {})
    if answer.status_code == 404:
        return []
    try:
        answer.raise_for_status()
        return _spans(answer)
    except (httpx.HTTPStatusError, ValueError):
        raise StoreUnreadable(f"{http.base_url} answered {_said(answer)}") from None


async def _services(http: httpx.AsyncClient, api: Api) -> list[str] | None:
    """None where it is another API's answer."""
    try:
        answer = await _ask(http, api.services, {})
        return api.names(answer.json()) if answer.is_success else None
    except (ValueError, TypeError, KeyError, TooLargeError):
        return None


async def _takes_no_name(http: httpx.AsyncClient, api: Api, window: Window) -> bool:
    """Whether a search without a service finds traces: then one finds all, and no trace comes once for each service."""
    try:
        return bool(await _found(http, api, _EVERY, window, Reading(), most=1))
    except (StoreUnreadable, TooLargeError):
        return False


async def _service(
    http: httpx.AsyncClient, api: Api, name: str, window: Window, reading: Reading
) -> AsyncIterator[list[Span]]:
    waiting = [window]
    while waiting:
        part = waiting.pop()
        try:
            found = await _found(http, api, name, part, reading)
            if parts := _narrower(_starts(found), name, part, api, reading):
                waiting += reversed(parts)
                continue
            spans = found if isinstance(found, list) else await _by_id(http, api, found, reading)
        except TooLargeError as error:
            waiting += reversed(_halves(error, name, part, api, reading))
            continue
        except StoreUnreadable as error:
            raise StoreUnreadable(_cut_off(str(error), name, part, reading)) from None
        yield _new(spans, reading)


def _narrower(starts: Starts, name: str, window: Window, api: Api, reading: Reading) -> list[Window]:
    """The parts to ask for in place of a window of which a search may not have told all; none where it did."""
    if len(starts) < _CAP:
        return []
    if window.end - window.start > api.least:
        return _split(window, starts.values(), api.least)
    reading.missing.append(
        f"{name or 'all'}: more than {_CAP} traces in {api.least // 1_000_000} ms: the rest is not read"
    )
    return []


def _halves(error: TooLargeError, name: str, window: Window, api: Api, reading: Reading) -> list[Window]:
    """In place of a window whose answer is too large; none, and it is missing, where halving comes to its end."""
    if reading.halved < _HALVED and window.end - window.start > 2 * api.least:
        reading.halved += 1
        return _split(window, (), api.least)
    reading.miss(name, window, f"{error}: ask for less with --last")
    return []


def _cut_off(said: str, name: str, window: Window, reading: Reading) -> str:
    """What a backend that answers no more leaves out; nothing to add where it has given nothing."""
    if not reading.spans:
        return said
    return f"{said}; nothing was read of {name or 'what begins'} {as_iso(window.start)} and after it"


def _starts(found: list[Span] | Starts) -> Starts:
    if not isinstance(found, list):
        return found
    starts: dict[str, int] = {}
    for span in found:
        starts[span.trace_id] = min(span.start_ns, starts.get(span.trace_id, span.start_ns))
    return starts


def _split(window: Window, starts: Iterable[int], least: int) -> list[Window]:
    """Parts in which as many traces may fit as these are; the more the denser they lie, two at least.

    A backend that answers with the newest traces first shows so how many there are in a while.
    """
    seen = [start for start in starts if start]
    length = window.end - window.start
    dense = 2 * length // max(max(seen, default=length) - min(seen, default=0), 1)
    parts = max(2, min(_PARTS, dense, length // least))
    return [Window(*pair) for pair in pairwise(window.start + length * number // parts for number in range(parts + 1))]


def _new(spans: list[Span], reading: Reading) -> list[Span]:
    """Without the traces that another service's search brought."""
    kept = [span for span in spans if span.trace_id not in reading.traces]
    reading.traces.update(span.trace_id for span in kept)
    reading.spans += len(kept)
    return kept


async def _found(
    http: httpx.AsyncClient, api: Api, name: str, window: Window, reading: Reading, *, most: int = _CAP
) -> list[Span] | Starts:
    """The spans of a search, or the traces where it tells of no spans; none where it fails, which is missing then."""
    asked = {key: value for key, value in api.parameters(name, window, most).items() if value}
    answer = await _ask(http, api.search, asked)
    if answer.status_code == 404 and _is_json(answer):
        return []
    try:
        answer.raise_for_status()
        return api.listed(answer.json()) if api.listed else _spans(answer)
    except (httpx.HTTPStatusError, ValueError, TypeError, KeyError):
        reading.miss(name, window, _said(answer))
        return []


async def _by_id(http: httpx.AsyncClient, api: Api, starts: Starts, reading: Reading) -> list[Span]:
    """The spans of traces that were not read yet. One that the backend tells of and does not give is missing."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(trace_id: str) -> list[Span]:
        async with gate:
            try:
                answer = await _ask(http, f"{api.trace}{trace_id}", {})
            except TooLargeError as error:
                reading.missing.append(f"trace {trace_id}: the backend answered {error}")
                return []
        try:
            answer.raise_for_status()
            return _spans(answer)
        except (httpx.HTTPStatusError, ValueError):
            reading.missing.append(f"trace {trace_id}: the backend answered {answer.status_code} and no spans")
            return []

    wanted = [trace_id for trace_id in starts if trace_id not in reading.traces]
    return [span for spans in await asyncio.gather(*map(one, wanted)) for span in spans]


def _is_json(answer: httpx.Response) -> bool:
    """A page of HTML comes from what stands before the backend."""
    try:
        answer.json()
    except ValueError:
        return False
    return True


def _spans(answer: httpx.Response) -> list[Span]:
    """Raises MalformedError, which is a ValueError."""
    return [span for _, document in documents(answer.text) if not _empty(document) for span in spans_of(document)]


def _said(answer: httpx.Response) -> str:
    """With what helps."""
    if answer.status_code in _LATER:
        return f"{answer.status_code}: ask again later, or for less with --last"
    what = "no spans in JSON" if answer.is_success else f"{answer.status_code}"
    return f"{what}: try another --traces-api"


def _empty(document: Any) -> bool:
    """An answer without traces: Jaeger's says so in several ways."""
    if isinstance(document, Mapping) and isinstance(document.get("result"), Mapping):
        document = document["result"]
    return document in ({}, []) or (isinstance(document, Mapping) and document.get("data", 0) is None)


async def _ask(http: httpx.AsyncClient, path: str, parameters: Mapping[str, str]) -> httpx.Response:
    """The answer, asked for again where the backend is busy. Raises TooLargeError, and StoreUnreadable with the fix."""
    base = str(http.base_url).rstrip("/")
    try:
        for attempt in range(_TRIES):
            answer = await bounded(http, path, parameters, _ANSWER)
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
