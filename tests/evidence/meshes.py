"""A chain of hops played on paper: what each hop receives, what its sidecar makes of it, what is left as evidence.

The sidecars do as Envoy's tracers do: one that finds a context that it reads goes on with it, one that finds none
begins a trace; either writes its own family's headers anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.headers.families import Metadata
from grpc_tracing.headers.forwarding import Propagation
from grpc_tracing.headers.reading import read, trace_id
from grpc_tracing.spans.model import Span
from tests.evidence.mistakes import Mistake, good
from tests.support.spans import make

SERVICES = ("svc1", "svc2", "svc3")
REQUEST_ID = "6f1c2f5e-1111-4222-8333-444455556666"


@dataclass
class Ids:
    """Ids that differ, in the order in which they are drawn."""

    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def trace(self) -> str:
        return f"{next(self.numbers):08x}" + "a0" * 12

    def span(self) -> str:
        return f"{next(self.numbers):04x}" + "b0" * 6


@dataclass
class Played:
    """What a call left: records, spans, what was sent, and whether its trace is whole."""

    sent: Metadata
    records: tuple[HopRecord, ...]
    spans: tuple[Span, ...]
    whole: bool


@dataclass
class Mesh:
    """`family`: none (no sidecars), w3c, or b3 (which writes traceparent too). `silent` hops leave no record.

    `begun` is the trace context that the requester sends, by default one of its own in W3C and B3.
    """

    family: str
    hops: dict[str, Mistake]
    silent: frozenset[str] = frozenset()
    root: bool = True
    begun: Metadata = ()
    ids: Ids = field(default_factory=Ids)
    spans: list[Span] = field(default_factory=list)

    def call(self, request_id: str = REQUEST_ID) -> Played:
        trace, span = self.ids.trace(), self.ids.span()
        begun = self.begun or (begin(trace, span) if self.root or self.family == "none" else ())
        sent = (("x-request-id", request_id), *begun)
        if self.root:
            self._leave(trace, span, "", by=("requester", "client"), headers=sent)
        headers = self._proxy(sent, "ingress", "client")
        records: list[HopRecord] = []
        for place, service in enumerate(SERVICES):
            headers = self._proxy(headers, service, "server")
            left = self.hops.get(service, good)(headers)
            if service not in self.silent:
                records.append(record(service, headers, later=place + 1 < len(SERVICES)))
            if place + 1 < len(SERVICES):
                headers = self._proxy(left, service, "client")
        spans = tuple(self.spans)
        return Played(sent, tuple(records), spans, self._whole(sent, headers))

    def _whole(self, sent: Metadata, last: Metadata) -> bool:
        if self.family == "none":
            before = {one.key: one.trace_id for one in read(sent)}
            return all(one.trace_id == before.get(one.key) for one in read(last)) and len(read(last)) == len(before)
        known = {(one.trace_id, one.span_id) for one in self.spans}
        roots = [one for one in self.spans if (one.trace_id, one.parent_id) not in known]
        ids = {one.trace_id for one in read(last) if one.trace_id}
        return len(roots) == 1 and len(ids) <= 1 and not any(one.fault for one in read(last))

    def _proxy(self, headers: Metadata, service: str, kind: str) -> Metadata:
        if self.family == "none":
            return headers
        context = self._read(headers)
        trace, parent = (context[0], context[1]) if context else (self.ids.trace(), "")
        span = self.ids.span()
        self._leave(trace, span, parent, by=(service, kind), headers=headers)
        keys = (
            {"traceparent"} if self.family == "w3c" else {"traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}
        )
        fresh = begin(trace, span)
        return (*(pair for pair in headers if pair[0] not in keys), *(pair for pair in fresh if pair[0] in keys))

    def _read(self, headers: Metadata) -> tuple[str, str] | None:
        readable = {one.key: one for one in read(headers) if one.trace_id and one.span_id}
        order = ("traceparent",) if self.family == "w3c" else ("x-b3-traceid", "traceparent")
        found = next((readable[key] for key in order if key in readable), None)
        return (found.trace_id, found.span_id) if found else None

    def _leave(self, trace: str, span: str, parent: str, *, by: tuple[str, str], headers: Metadata) -> None:
        start = len(self.spans) * 1_000_000
        ids = [str(value) for key, value in headers if key == "x-request-id"]
        tags = {"guid:x-request-id": ids[0]} if ids else {}
        self.spans.append(make(trace, span, parent, *by[:1], "/Talk", by[1], start, 10**9 - start, False, **tags))


def begin(trace: str, span: str) -> Metadata:
    """A sampled context in W3C and B3."""
    return (
        ("traceparent", f"00-{trace}-{span}-01"),
        ("x-b3-traceid", trace),
        ("x-b3-spanid", span),
        ("x-b3-sampled", "1"),
    )


def record(service: str, received: Metadata, *, later: bool) -> HopRecord:
    """As a hop of the suite leaves it."""
    headers = tuple(
        Header(key=key, value=value if isinstance(value, bytes) else value.encode(), decision=int(decision))
        for key, value, decision in Propagation().sort(received)
    )
    agent = Header(key="user-agent", decision=4)
    return HopRecord(
        service=service, headers=(agent, *headers), trace_id=trace_id(received), later_us=900 if later else 0
    )
