"""A call as a trace backend shows it: its spans, the edges between services, and what is not whole. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    says that a span with that id was reported, so that the trace must begin with it. `prefix` may stand before a
    service's name. `documents` are the traces as
    the backend gave them, OTLP JSON.
    """

    spans: tuple[Span, ...]
    expected: tuple[str, ...]
    sent: str = ""
    exported: bool = False
    prefix: str = ""
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
            name = self.fold(span.service)
            if name in self.expected or _parent(span) in inside:
                inside.add(_id(span))
            places[id(span)] = name if _id(span) in inside or name == REQUESTER else INGRESS
        return places

    def place(self, span: Span) -> str:
        """Where a span of this picture was made."""
        return self._places[id(span)]

    def fold(self, service: str) -> str:
        """The expected service that a name means, else the name."""
        return folded(service, self.expected, self.prefix)

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

    @property
    def missing(self) -> Mapping[_Id, list[Span]]:
        """The spans whose parent is not there, by that parent; the requester's own span is known where it is not."""
        found: dict[_Id, list[Span]] = defaultdict(list)
        for span in self.spans:
            known = not self.exported and span.parent_id == self.sent
            if span.parent_id and _parent(span) not in self._by_id and not known:
                found[_parent(span)].append(span)
        return found

    def at(self, place: str, kind: Kind | None = None) -> list[Span]:
        """The spans of a place, the earliest first."""
        return [span for _, span in self.tree() if self.place(span) == place and kind in {None, span.kind}]

    def above(self, span: Span) -> list[Span]:
        """The parents of a span, the nearest first."""
        found: list[Span] = []
        while (parent := self._by_id.get(_parent(span))) and parent not in found and parent is not span:
            found.append(parent)
            span = parent
        return found


def folded(service: str, expected: Sequence[str], prefix: str = "") -> str:
    """The expected service that a span's service name means.

    `svc1` is also `svc1.namespace`, `svc1.namespace.svc.cluster.local` and `namespace/svc1`; `prefix` may stand before
    the name.
    """
    for name in expected:
        if re.fullmatch(rf"(?:[\w-]+/)?(?:{re.escape(prefix)})?{re.escape(name)}(?:\.[\w.-]+)?", service):
            return name
    return service
