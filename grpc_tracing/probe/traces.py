"""Reading what a backend shows of the calls: their own traces, what lies beside them, and a while before them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import httpx

from grpc_tracing.audit.facts import EXITS, fact
from grpc_tracing.backends.apis import Api, Window
from grpc_tracing.backends.jaeger import Source, StoreUnreadable
from grpc_tracing.backends.windows import Reading, choose, read, read_trace
from grpc_tracing.probe.calls import Call
from grpc_tracing.probe.judge import Before, Evidence, suspects
from grpc_tracing.spans.model import Span

_QUIET: Final = 2.0
"""Seconds: a trace to which nothing has come for so long is taken for complete."""
_PAUSE: Final = 0.3
_AT_ONCE: Final = 8
_SLACK: Final = 50_000_000
"""Nanoseconds by which clocks of one cluster may differ."""
_FAR: Final = 2_000_000_000
"""The same, for the caller's own clock, which may be another network's."""
_BEFORE: Final = 60_000_000_000


async def look_up(source: Source, api_name: str, calls: Sequence[Call], wait: float) -> tuple[list[Evidence], Before]:
    """What the backend shows of the calls, `wait` seconds after the last at most. Raises StoreUnreadable."""
    api = await choose(source, api_name)
    evidence = await _own(source, api, calls, wait)
    beside, missing = await _beside(source, api, _time_of(evidence))
    for one in evidence:
        one.beside = _near(beside, _time_of([one]))
        one.unread = missing
    names = suspects(evidence)
    return evidence, await _before(source, api, evidence, names) if names else Before()


async def _own(source: Source, api: Api, calls: Sequence[Call], wait: float) -> list[Evidence]:
    """The calls' own traces, once nothing more comes to them."""
    loop = asyncio.get_running_loop()
    until, changed = loop.time() + wait, loop.time()
    evidence = [Evidence(call, []) for call in calls]
    async with source.open() as http:
        while True:
            before = [len(one.own) for one in evidence]
            await _read_all(http, api, evidence)
            now = loop.time()
            if [len(one.own) for one in evidence] != before:
                changed = now
            complete = all(one.own for one in evidence) and now - changed >= _QUIET
            if complete or now > until:
                return evidence
            await asyncio.sleep(_PAUSE)


async def _read_all(http: httpx.AsyncClient, api: Api, evidence: Sequence[Evidence]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Evidence) -> None:
        async with gate:
            each.own = await read_trace(http, api, each.call.trace_id)

    await asyncio.gather(*map(one, evidence))


def _time_of(evidence: Sequence[Evidence]) -> Window:
    """When the calls were in: by their spans where there are any, for the caller's clock may be off."""
    spans = [span for one in evidence for span in one.own]
    if spans and all(one.own for one in evidence):
        return Window(min(span.start_ns for span in spans) - _SLACK, max(span.end_ns for span in spans) + _SLACK)
    return Window(min(one.call.began_ns for one in evidence) - _FAR, max(one.call.ended_ns for one in evidence) + _FAR)


async def _beside(source: Source, api: Api, window: Window, names: Sequence[str] = ()) -> tuple[list[Span], str]:
    """The spans of all traces of a window, and in words what of it could not be read."""
    reading = Reading()
    spans: list[Span] = []
    try:
        async for batch in read(source, api, window, reading, names):
            spans += batch
    except StoreUnreadable as error:
        reading.missing.append(str(error))
    return spans, "; ".join(reading.missing[:1])


def _near(spans: Sequence[Span], window: Window) -> list[Span]:
    """The spans of the traces of which something begins in the window."""
    ids = {span.trace_id for span in spans if window.start <= span.start_ns <= window.end}
    return [span for span in spans if span.trace_id in ids]


async def _before(source: Source, api: Api, evidence: Sequence[Evidence], names: set[str]) -> Before:
    """Nothing is known of a while that cannot be read whole."""
    end = _time_of(evidence).start
    spans, missing = await _beside(source, api, Window(end - _BEFORE, end), sorted(names))
    if missing:
        return Before()
    facts = [one for span in spans if end - _BEFORE <= (one := fact(span)).start < end]
    first: dict[str, int] = {}
    for one in facts:
        first[one.service] = min(one.start, first.get(one.service, one.start))
    return Before([one for one in facts if not one.parent_id and one.kind in EXITS], first, end)
