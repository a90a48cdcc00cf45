"""A call as a trace backend shows it: its spans, the edges between services, and what is not whole. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from grpc_tracing.spans.model import Kind, Span

REQUESTER, INGRESS = "requester", "ingress"
Edge = tuple[str, str]
_Id = tuple[str, str]
"""Trace id and span id: a parent is never looked for in another trace."""
_NONE: _Id = ("", "")


def _id(span: Span) -> _Id:
    return span.trace_id, span.span_id


def _parent(span: Span) -> _Id:
    return span.trace_id, span.parent_id


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
    def _by_id(self) -> Mapping[_Id, Span]:
        # In Zipkin a server's span may share its id with its caller's: what follows stands below the server's.
        return {_id(span): span for span in sorted(self.spans, key=lambda span: span.kind is Kind.SERVER)}

    @cached_property
    def _children(self) -> Mapping[_Id, list[Span]]:
        children: dict[_Id, list[Span]] = defaultdict(list)
        for span in sorted(self.spans, key=lambda span: span.start_ns):
            children[_parent(span) if _parent(span) in self._by_id else _NONE].append(span)
        return children

    @property
    def missing_parents(self) -> list[str]:
        """Ids that spans name as their parents and that are not there; the requester's own is known."""
        named = {_parent(span) for span in self.spans if span.parent_id} - self._by_id.keys()
        missing = sorted({span_id for _, span_id in named})
        return missing if self.exported else [span_id for span_id in missing if span_id != self.sent]

    @property
    def unbroken(self) -> bool:
        """True where every parent that a span names is there, and the requester's own span too if it was exported."""
        return (
            bool(self.spans)
            and not self.missing_parents
            and (not self.exported or any(span.span_id == self.sent for span in self.spans))
        )

    def tops(self) -> list[Span]:
        """The spans that stand below no other, in order of time."""
        return self._children.get(_NONE, [])

    def tree(self) -> Iterator[tuple[int, Span]]:
        """Every span after its parent, with its depth; siblings in order of time."""
        stack = [(0, span) for span in reversed(self.tops())]
        seen: set[int] = set()
        while stack:
            depth, span = stack.pop()
            if id(span) not in seen:
                seen.add(id(span))
                yield depth, span
                stack += [(depth + 1, child) for child in reversed(self._children.get(_id(span), []))]

    @cached_property
    def _places(self) -> Mapping[int, str]:
        """Each span's place: an expected service, the requester, or the ingress that lies before the first service."""
        inside: set[_Id] = set()
        places = {}
        for _, span in self.tree():
            name = folded(span.service, self.expected)
            if name in self.expected or _parent(span) in inside:
                inside.add(_id(span))
            places[id(span)] = name if _id(span) in inside or name == REQUESTER else INGRESS
        return places

    def place(self, span: Span) -> str:
        return self._places[id(span)]

    @cached_property
    def edges(self) -> list[Edge]:
        """Who called whom, each pair once, from the requester on."""
        pairs = [
            (self.place(self._by_id[_parent(span)]), self.place(span))
            for _, span in self.tree()
            if _parent(span) in self._by_id
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
