"""One span of what was reported of it more than once.

A Zipkin tracer may report a span in parts: a later part has no kind or no time, and holds only what is new. Zipkin's
server merges them by id and service (zipkin2.internal.Trace).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grpc_tracing.spans.model import Attributes, Kind, Span

# A client span and the server span of the same call may share an id.
Key = tuple[str, bool]

_NO_KIND = {Kind.UNSPECIFIED, Kind.INTERNAL}


def merged(spans: Iterable[Span]) -> list[Span]:
    """Each span once, a part completes its span and takes nothing from it."""
    reports: dict[Key, list[Span]] = {}
    parts: list[Span] = []
    for span in spans:
        if span.kind in _NO_KIND:
            parts.append(span)
        else:
            reports.setdefault((span.span_id, span.kind is Kind.SERVER), []).append(span)
    for part in parts:
        reports.setdefault(_key(part, reports), []).append(part)
    return [_one(same) if len(same) > 1 else same[0] for same in reports.values()]


def _key(part: Span, reports: dict[Key, list[Span]]) -> Key:
    """Of the span that this is a part of: of both sides of a call, the one of its service."""
    sides = [key for key in ((part.span_id, True), (part.span_id, False)) if key in reports]
    same = [key for key in sides if reports[key][0].service == part.service]
    return (same or sides or [(part.span_id, False)])[0]


def _one(reports: list[Span]) -> Span:
    """The first report with a time, with what the others add."""
    reports = sorted(reports, key=lambda one: not one.start_ns)
    return replace(
        reports[0],
        parent_id=next((one.parent_id for one in reports if one.parent_id), ""),
        name=next((one.name for one in reports if one.name), ""),
        kind=next((one.kind for one in reports if one.kind not in _NO_KIND), reports[0].kind),
        version=next((one.version for one in reports if one.version), ""),
        start_ns=min((one.start_ns for one in reports if one.start_ns), default=0),
        end_ns=max(one.end_ns for one in reports),
        error=any(one.error for one in reports),
        message=next((one.message for one in reports if one.message), ""),
        attributes=_attributes(reports),
        events=tuple(dict.fromkeys(event for one in reports for event in one.events)),
        links=tuple(dict.fromkeys(link for one in reports for link in one.links)),
    )


def _attributes(reports: list[Span]) -> Attributes:
    values: dict[str, str] = {}
    for one in reports:
        for key, value in one.attributes:
            values.setdefault(key, value)
    return tuple(values.items())
