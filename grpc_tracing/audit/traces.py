"""Spans in any order become calls in and calls out; memory holds the open traces alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from grpc_tracing.audit.facts import ENTRIES, EXITS, Fact

OPEN_SPANS: Final = 200_000
"""Spans of traces that may still grow; above it the trace that was quiet for longest is closed."""
DEEPEST: Final = 64
"""Spans of its own that a call out may stand below."""
NARROW: Final = 16
"""Digits of a trace id that all tracers of a trace tell: some keep 64 of its 128 bits."""
Key = tuple[str, bool]


class Begins(StrEnum):
    """Where the trace of a call out comes from."""

    CALL_IN = "call in"
    ITSELF = "itself"
    UNSEEN = "unseen"
    """A parent that never came, or that stands in a circle of parents."""


class CallOut(NamedTuple):
    """A call out: `began` is when its own piece of the trace begins, `cause` the call in, or linked work, that it
    continues."""

    fact: Fact
    begins: Begins
    began: int
    cause: Fact | None


def trace_of(fact: Fact) -> str:
    """The same for all spans of a trace."""
    return fact.trace_id[-NARROW:]


def key_of(fact: Fact) -> Key:
    """Another for each span of a trace: in Zipkin the two sides of a call may share an id."""
    return fact.span_id, fact.kind in ENTRIES


@dataclass
class OpenTraces:
    """Takes facts in any order and hands a trace's calls on when it is closed."""

    limit: int = OPEN_SPANS
    _open: OrderedDict[str, dict[Key, Fact]] = field(default_factory=OrderedDict)
    _held: int = 0

    def take(self, fact: Fact) -> Iterator[list[Fact]]:
        """The traces that had to be closed for this span.

        Of one that comes twice the same counts whichever came first: one with a parent, if there is one.
        """
        trace_id = trace_of(fact)
        trace = self._open.get(trace_id)
        if trace is None:
            trace = self._open[trace_id] = {}
        else:
            self._open.move_to_end(trace_id)
        key = key_of(fact)
        held = trace.setdefault(key, fact)
        if held is fact:
            self._held += 1
        elif _rank(fact) < _rank(held):
            trace[key] = fact
        while self._held > self.limit:
            yield self._close()

    def rest(self) -> Iterator[list[Fact]]:
        """All traces that are open still."""
        while self._open:
            yield self._close()

    def _close(self) -> list[Fact]:
        _, trace = self._open.popitem(last=False)
        self._held -= len(trace)
        return list(trace.values())


def _rank(fact: Fact) -> tuple[bool, Fact]:
    return not fact.parent_id, fact


class Trace:
    """The spans of one trace, by their ids."""

    def __init__(self, facts: list[Fact]) -> None:
        self.facts = facts
        self._by_id: dict[str, dict[bool, Fact]] = {}
        for fact in facts:
            self._by_id.setdefault(fact.span_id, {})[fact.kind in ENTRIES] = fact

    def above(self, fact: Fact) -> Fact | None:
        """The span that it names as its parent, which may be itself.

        In Zipkin a server span may share its id with the client span above it: below it stands the server span.
        """
        found = self._by_id.get(fact.parent_id, {}) if fact.parent_id else {}
        return found.get(True) or found.get(False)

    def calls_out(self) -> Iterator[CallOut]:
        """Each call that leaves a service once per layer: where SDK and sidecar each leave a span for it, both are
        told."""
        return (self._traced(fact) for fact in self.facts if fact.kind in EXITS)

    def _traced(self, fact: Fact) -> CallOut:
        """Walks up through the service's own spans to what the call out continues: a call in, or the work that a link
        joins to another trace, as a consumer's batch is."""
        at = fact
        for _ in range(DEEPEST):
            if not at.parent_id and at.linked and at is not fact:
                return CallOut(fact, Begins.CALL_IN, at.start, at)
            if not at.parent_id:
                return CallOut(fact, Begins.ITSELF, at.start, None)
            above = self.above(at)
            if above is None or above is at:
                return CallOut(fact, Begins.UNSEEN, at.start, None)
            if above.kind in ENTRIES or above.service != fact.service:
                return CallOut(fact, Begins.CALL_IN, at.start, above)
            at = above
        return CallOut(fact, Begins.UNSEEN, at.start, None)
