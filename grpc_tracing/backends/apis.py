"""How each backend is asked: where its services are, how it is searched, and what its answers say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from grpc_tracing.backends.jaeger import search_of

SECOND: Final = 1_000_000_000


class Window(NamedTuple):
    """Unix nanoseconds."""

    start: int
    end: int


Starts = Mapping[str, int]
"""Traces by id, with the Unix nanoseconds in which they begin."""


@dataclass(frozen=True)
class Api:
    """A backend's name, where its services are and how they are read, its search, and where a trace is by its id.

    Where a search tells of traces and not their spans, `listed` reads it, and each trace is asked for by its id.
    A window shorter than `least` nanoseconds is not split.
    """

    name: str
    services: str
    names: Callable[[Any], list[str]]
    search: str
    parameters: Callable[[str, Window, int], dict[str, str]]
    trace: str
    listed: Callable[[Any], Starts] | None = None
    least: int = 10_000_000


def _named(key: str) -> Callable[[Any], list[str]]:
    return lambda document: [str(one) for one in document[key] or ()]


def _plain_list(document: Any) -> list[str]:
    if not isinstance(document, list):
        raise TypeError("it is no list")
    return [str(one) for one in document]


def _v3(service: str, window: Window, most: int) -> dict[str, str]:
    return search_of(service, window.start, window.end, most)


def _v1(service: str, window: Window, most: int) -> dict[str, str]:
    times = {"start": str(window.start // 1000), "end": str(window.end // 1000)}
    return {"service": service, "limit": str(most)} | times


def _zipkin(service: str, window: Window, most: int) -> dict[str, str]:
    lookback = max(1, (window.end - window.start) // 1_000_000)
    end = -(-window.end // 1_000_000)  # in milliseconds: a span of the last one is in
    return {"serviceName": service, "endTs": str(end), "lookback": str(lookback), "limit": str(most)}


def _tempo(service: str, window: Window, most: int) -> dict[str, str]:
    """In whole seconds, so that windows beside each other may both tell of a trace."""
    wanted = f"{{ resource.service.name = {json.dumps(service, ensure_ascii=False)} }}" if service else "{}"
    times = {"start": str(window.start // SECOND), "end": str(-(-window.end // SECOND))}
    return {"q": wanted, "limit": str(most), "spss": "1"} | times


def _tag_values(document: Any) -> list[str]:
    """Where there is none yet, Tempo leaves the list out."""
    if "tagValues" not in document and "metrics" not in document:
        raise KeyError("tagValues")
    return [str(one) for one in document.get("tagValues") or ()]


def _listed(document: Any) -> Starts:
    """Tempo's search writes an id without its leading zeros."""
    return {str(one["traceID"]).zfill(32): int(one.get("startTimeUnixNano") or 0) for one in document["traces"] or ()}


APIS: Final = {
    "jaeger": Api("Jaeger's v3 API", "/api/v3/services", _named("services"), "/api/v3/traces", _v3, "/api/v3/traces/"),
    "jaeger1": Api("Jaeger's first API", "/api/services", _named("data"), "/api/traces", _v1, "/api/traces/"),
    "zipkin": Api("Zipkin", "/api/v2/services", _plain_list, "/api/v2/traces", _zipkin, "/api/v2/trace/"),
    "tempo": Api(
        "Tempo",
        "/api/search/tag/service.name/values",
        _tag_values,
        "/api/search",
        _tempo,
        "/api/traces/",
        listed=_listed,
        least=SECOND,
    ),
}
