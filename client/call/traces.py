"""Looking the calls of a run up in the trace backend."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from chain import topology
from client.call.drive import Made
from client.call.outcome import Outcome
from client.call.verdict import sent_id
from grpc_tracing.backends.jaeger import (
    Found,
    Source,
    StoreUnreadable,
    Wanted,
    read_traces,
    search,
    services,
)
from grpc_tracing.evidence.picture import Picture, folded
from grpc_tracing.evidence.records import pairs, reported_id
from grpc_tracing.evidence.seen import Seen, request_id_of
from grpc_tracing.headers.families import REQUEST_ID
from grpc_tracing.headers.reading import distinct, in_32_digits
from grpc_tracing.spans.model import Kind, Span

# The spans of a call of which a hop left no record are taken for complete when none has come for so many seconds.
_QUIET = 2.0
_BETWEEN_SEARCHES = 0.5  # seconds
# Clocks of two machines, and the time that a message is on its way.
_SLACK_NS = 50_000_000


@dataclass(frozen=True)
class Asking:
    """How the backend is asked: `wait` in seconds, for all traces together."""

    source: Source
    expected: tuple[str, ...]
    exported: bool
    wait: float


async def look_up(asking: Asking, made: Sequence[Made]) -> list[Seen]:
    """What the backend shows of each call. Raises StoreUnreadable."""
    viewers = [_Viewer(one, asking) for one in made]
    wanted = await _with_ids_found(viewers, asking)
    await read_traces(asking.source, wanted, asking.wait)
    shared = _shared(wanted)
    seen = [viewer.seen(one.found, shared) for viewer, one in zip(viewers, wanted, strict=True)]
    return await _with_pieces(asking, made, seen)


async def _with_ids_found(viewers: Sequence[_Viewer], asking: Asking) -> list[Wanted]:
    """What is wanted of each call; ids that nothing names are found by its x-request-id among the spans of its time."""
    found: dict[int, tuple[str, ...]] = {number: viewer.ids() for number, viewer in enumerate(viewers)}
    until = asyncio.get_running_loop().time() + asking.wait
    while nameless := [number for number, ids in found.items() if not ids]:
        spans = await _spans_of_the_time([viewers[number].made.outcome for number in nameless], asking)
        found |= {number: _ids_by_request(spans, viewers[number].made.outcome) for number in nameless}
        if all(found.values()) or asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(_BETWEEN_SEARCHES)
    return [viewer.wanted(found[number]) for number, viewer in enumerate(viewers)]


def _ids_by_request(spans: Sequence[Span], outcome: Outcome) -> tuple[str, ...]:
    ids = request_ids(outcome)
    return tuple(dict.fromkeys(span.trace_id for span in spans if request_id_of(span) in ids))


async def _spans_of_the_time(outcomes: Sequence[Outcome], asking: Asking) -> tuple[Span, ...]:
    """The spans of all traces of the expected services while these calls ran. Raises StoreUnreadable."""
    start = min(one.began_ns for one in outcomes) - _SLACK_NS
    end = max(one.began_ns + int(one.duration * 1e9) for one in outcomes) + _SLACK_NS
    fold = partial(folded, expected=asking.expected, prefix=topology.HOST_PREFIX)
    names = [name for name in await services(asking.source) if fold(name) in asking.expected]
    return await search(asking.source, names, start, end)


def _shared(wanted: Sequence[Wanted]) -> frozenset[str]:
    """Trace ids that several calls have, as with `-H traceparent: …`."""
    counted = Counter(trace_id for one in wanted for trace_id in set(one.trace_ids))
    return frozenset(trace_id for trace_id, times in counted.items() if times > 1)


@dataclass(frozen=True)
class _Viewer:
    made: Made
    asking: Asking

    def seen(self, found: Sequence[Found], shared: frozenset[str]) -> Seen:
        picture = self._picture(found, shared)
        return Seen(picture, waited=f"{self.asking.wait:g}s", request_ids=request_ids(self.made.outcome))

    def _picture(self, found: Sequence[Found], shared: frozenset[str] = frozenset()) -> Picture:
        context = self.made.context
        sent = context.span_id if context else _span_sent(self.made.outcome)
        return Picture(
            tuple(self._own([span for one in found for span in one.spans], shared)),
            self.asking.expected,
            sent,
            self.asking.exported,
            topology.HOST_PREFIX,
            tuple(one.document for one in found if one.spans),
        )

    def _own(self, spans: list[Span], shared: frozenset[str]) -> list[Span]:
        """Without the spans of other calls under the same trace id."""
        if not {span.trace_id for span in spans} & shared:
            return spans
        ids = request_ids(self.made.outcome)
        by_id = [span for span in spans if request_id_of(span) in ids]
        return [span for span in by_id or spans if self._in_time(span)]

    def _in_time(self, span: Span) -> bool:
        outcome = self.made.outcome
        until = outcome.began_ns + int(outcome.duration * 1e9) + _SLACK_NS
        return outcome.began_ns - _SLACK_NS <= span.start_ns <= until

    def ids(self) -> tuple[str, ...]:
        """The traces that the hops report, and the one that the requester began; where none reports, what was sent."""
        outcome, context = self.made.outcome, self.made.context
        reported = [*map(reported_id, outcome.hops), context.trace_id if context else ""]
        ids = distinct(reported) or distinct([sent_id(outcome.sent)])
        # Other families' ids, such as SkyWalking's, mean nothing to the backend.
        return tuple(one for one in map(in_32_digits, ids) if re.fullmatch("[0-9a-f]{32}", one))

    def wanted(self, ids: tuple[str, ...]) -> Wanted:
        complete = self._complete if ids else lambda _: True
        silent = {hop.service for hop in self.made.outcome.hops} < set(self.asking.expected)
        return Wanted(ids, complete, quiet=_QUIET if silent else 0.0)

    def _complete(self, found: Sequence[Found]) -> bool:
        picture = self._picture(found)
        return picture.unbroken and self._due() <= picture.services

    def _due(self) -> set[str]:
        """The services whose spans must be there: those that left a record; without any, of a call that worked, all."""
        hops = self.made.outcome.hops
        if hops or self.made.outcome.status != "OK":
            return {hop.service for hop in hops} & set(self.asking.expected)
        return set(self.asking.expected[:1])


def request_ids(outcome: Outcome) -> frozenset[str]:
    """This call's x-request-id: as it was sent, and as the first hop received it, for the edge may rewrite a digit."""
    received = pairs(outcome.hops[0].headers) if outcome.hops else []
    return frozenset(str(value) for key, value in [*outcome.sent, *received] if key == REQUEST_ID)


async def _with_pieces(asking: Asking, made: Sequence[Made], seen: list[Seen]) -> list[Seen]:
    """Looks for the pieces whose trace ids no record names, where a trace ends before the last service."""
    open_ones = [n for n, one in enumerate(seen) if one.picture.spans and _ends_early(one, made[n].outcome)]
    if not open_ones:
        return seen
    try:
        spans = await _spans_of_the_time([made[number].outcome for number in open_ones], asking)
    except StoreUnreadable:
        return seen  # a backend that answers by id alone
    return [_sewn(one, spans) if number in open_ones else one for number, one in enumerate(seen)]


def _ends_early(seen: Seen, outcome: Outcome) -> bool:
    return outcome.status == "OK" and not set(seen.picture.expected) <= seen.picture.services


def _sewn(seen: Seen, spans: Sequence[Span]) -> Seen:
    """With the root client spans that bear this call's request id, else those that lie inside a span of their hop."""
    known = {span.trace_id for span in seen.picture.spans}
    roots = [one for one in spans if one.kind is Kind.CLIENT and not one.parent_id and one.trace_id not in known]
    mine = [one for one in roots if request_id_of(one) in seen.request_ids]
    mine = mine or [one for one in roots if _inside(one, seen.picture)]
    return replace(seen, pieces=tuple(mine)) if mine else seen


def _inside(root: Span, picture: Picture) -> bool:
    entered = picture.at(picture.fold(root.service), Kind.SERVER)
    return any(one.start_ns <= root.start_ns and root.end_ns <= one.end_ns for one in entered)


def _span_sent(outcome: Outcome) -> str:
    """The span id that the user's own headers name as the parent."""
    sent = dict(outcome.sent)
    parts = str(sent.get("traceparent", "")).split("-")
    return parts[2] if len(parts) > 3 else str(sent.get("x-b3-spanid", ""))
