"""A call as a trace backend shows it: its spans, the edges between services, and what is not whole. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

REQUESTER, INGRESS = "requester", "ingress"
Edge = tuple[str, str]


@dataclass(frozen=True)
class Span:
    """One span; ids in lower-case hex, `parent_id` empty at a root, times in ns since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    error: bool = False

    @property
    def duration_ms(self) -> float:
        return max(0, self.end_ns - self.start_ns) / 1e6


@dataclass(frozen=True)
class Picture:
    """The spans of all traces of one call.

    `expected` are the services in order; `sent` is the span id that the requester sent on, empty: none. `exported`
    says that a span with that id was reported, so that the trace must begin with it. `documents` are the traces as
    the backend gave them, OTLP JSON.
    """

    spans: tuple[Span, ...]
    expected: tuple[str, ...]
    sent: str = ""
    exported: bool = False
    documents: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def _by_id(self) -> Mapping[str, Span]:
        # In Zipkin a server's span may share its id with its caller's: what follows stands below the server's.
        return {span.span_id: span for span in sorted(self.spans, key=lambda span: span.kind == "server")}

    @cached_property
    def _children(self) -> Mapping[str, list[Span]]:
        children: dict[str, list[Span]] = defaultdict(list)
        for span in sorted(self.spans, key=lambda span: span.start_ns):
            children[span.parent_id if span.parent_id in self._by_id else ""].append(span)
        return children

    @property
    def missing_parents(self) -> list[str]:
        """Ids that spans name as their parents and that are not there; the requester's own is known."""
        named = {span.parent_id for span in self.spans if span.parent_id} - self._by_id.keys()
        return sorted(named if self.exported else named - {self.sent})

    @property
    def unbroken(self) -> bool:
        """True where every parent that a span names is there, and the requester's own span too if it was exported."""
        return bool(self.spans) and not self.missing_parents and (not self.exported or self.sent in self._by_id)

    def tops(self) -> list[Span]:
        """The spans that stand below no other, in order of time."""
        return self._children.get("", [])

    def tree(self) -> Iterator[tuple[int, Span]]:
        """Every span after its parent, with its depth; siblings in order of time."""
        stack = [(0, span) for span in reversed(self.tops())]
        seen: set[int] = set()
        while stack:
            depth, span = stack.pop()
            if id(span) not in seen:
                seen.add(id(span))
                yield depth, span
                stack += [(depth + 1, child) for child in reversed(self._children.get(span.span_id, []))]

    @cached_property
    def _places(self) -> Mapping[int, str]:
        """Each span's place: an expected service, the requester, or the ingress that lies before the first service."""
        inside: set[str] = set()
        places = {}
        for _, span in self.tree():
            name = folded(span.service, self.expected)
            if name in self.expected or span.parent_id in inside:
                inside.add(span.span_id)
            places[id(span)] = name if span.span_id in inside or name == REQUESTER else INGRESS
        return places

    def place(self, span: Span) -> str:
        return self._places[id(span)]

    @cached_property
    def edges(self) -> list[Edge]:
        """Who called whom, each pair once, from the requester on."""
        pairs = [
            (self.place(self._by_id[span.parent_id]), self.place(span))
            for _, span in self.tree()
            if span.parent_id in self._by_id
        ]
        return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))

    @property
    def services(self) -> set[str]:
        """The expected services that left a span."""
        return {self.place(span) for _, span in self.tree()} & set(self.expected)

    @property
    def deepest(self) -> str:
        """The last of the expected services that left a span, else who else did; empty: nobody."""
        order = (REQUESTER, INGRESS, *self.expected)
        places = {self.place(span) for _, span in self.tree()}
        return next((name for name in reversed(order) if name in places), "")

    def problems(self, traces: int) -> Iterator[str]:
        """Why the picture is not one whole trace over the expected services; `traces` is what the records count."""
        if not self.spans:
            yield "the trace store holds no span of this call"
            return
        if self.missing_parents:
            yield f"the trace store lacks the parent {', '.join(self.missing_parents)} of a span"
        # Calls that share the user's own trace context stand side by side below the span that it names.
        roots = {span.parent_id or span.span_id: self.place(span) for span in self.tops()}
        if traces <= 1 and not self.missing_parents and len(roots) != 1:
            named = ", ".join(roots.values()) or "its spans stand in a circle"
            yield f"the trace has {len(roots)} roots ({named}), expected 1"
        if missing := [edge for edge in self._expected_edges() if edge not in self.edges]:
            yield f"the trace store shows no call {', '.join(f'{caller} > {callee}' for caller, callee in missing)}"

    def _expected_edges(self) -> list[Edge]:
        first = self.expected[0]
        path: tuple[str, ...] = self.expected
        if self.exported:
            path = (REQUESTER, *path) if (REQUESTER, first) in self.edges else (REQUESTER, INGRESS, *path)
        return list(pairwise(path))


def folded(service: str, expected: Sequence[str]) -> str:
    """The expected service that a service name means: `svc1` is also `grpc-server-svc1`, both with any .namespace."""
    for name in expected:
        if re.fullmatch(rf"(grpc-server-)?{re.escape(name)}(\.[^.]+)?", service):
            return name
    return service


def spans_in(document: Mapping[str, Any]) -> tuple[Span, ...]:
    """The spans of OTLP JSON with ids in hex, as Jaeger's v3 API gives it. Raises ValueError for anything else."""
    try:
        return tuple(
            _span(span, _service(group.get("resource", {})))
            for group in document.get("resourceSpans", [])
            for scope in group.get("scopeSpans", [])
            for span in scope.get("spans", [])
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("it is no answer of Jaeger's v3 API") from error


def _service(resource: Mapping[str, Any]) -> str:
    attributes = {pair["key"]: pair.get("value", {}).get("stringValue", "") for pair in resource.get("attributes", [])}
    return str(attributes.get("service.name", ""))


def _span(span: Mapping[str, Any], service: str) -> Span:
    parent = str(span.get("parentSpanId", ""))
    return Span(
        trace_id=str(span["traceId"]),
        span_id=str(span["spanId"]),
        parent_id="" if not parent.strip("0") else parent,
        service=service,
        name=str(span.get("name", "")),
        kind=_kind(span.get("kind", 0)),
        start_ns=int(span.get("startTimeUnixNano", 0)),
        end_ns=int(span.get("endTimeUnixNano", 0)),
        error=_failed(span),
    )


def _failed(span: Mapping[str, Any]) -> bool:
    """Envoy leaves the status of a failed gRPC call unset, and writes its code as an attribute."""
    codes = [
        pair.get("value", {}).get("stringValue", "0")
        for pair in span.get("attributes", [])
        if pair.get("key") == "grpc.status_code"
    ]
    return span.get("status", {}).get("code") in {2, "STATUS_CODE_ERROR"} or codes not in ([], ["0"])


def _kind(kind: int | str) -> str:
    """OTLP JSON writes enums as numbers, protobuf's own JSON as names."""
    names = ("", "internal", "server", "client", "producer", "consumer")
    if isinstance(kind, int):
        return names[kind] if 0 <= kind < len(names) else ""
    return kind.removeprefix("SPAN_KIND_").lower().replace("unspecified", "")
