"""The status of a trace: whole, not shown whole, broken, failed or still arriving, why, and what else its call left."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from grpc_tracing.spans.model import Kind
from grpc_tracing.store.calls import Call
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.wholeness import Customs, Judged

# The proxies of a call report one after the other; until then a trace that lacks a span is not called broken.
ARRIVING_NS = 1_500_000_000
# More traces share a request id only where a caller sends the same one always: they are no pieces of one call.
_MOST_PIECES = 100


class State(StrEnum):
    """What a list shows at a glance: the verdict's words, and that spans may still come."""

    WHOLE = "whole"
    UNPROVEN = "unproven"
    BROKEN = "broken"
    FAILED = "failed"
    ARRIVING = "arriving"


@dataclass(frozen=True, slots=True)
class TraceStatus:
    """The status of one trace.

    `cut` says of each piece, in the order of the trace's tops, whether it hangs in the air. `siblings` are the other
    traces of the same request id, the earliest first; `torn`: they are pieces of one call. `call` is the requester's
    note of it.
    """

    state: State
    cut: tuple[bool, ...]
    reasons: tuple[str, ...]
    siblings: tuple[str, ...]
    call: Call | None
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the traces: the requesters' calls, newest first, and what the audit found.

    Before `lost_ns` the store dropped a piece of a call: whose it was, nobody can tell.
    """

    now_ns: int
    calls: tuple[Call, ...] = ()
    judged: Judged = field(default_factory=Judged)
    lost_ns: int = 0


def trace_statuses(summaries: Iterable[Summary], known: Known) -> dict[str, TraceStatus]:
    """By trace id, for all of these summaries."""
    by_id = {summary.trace_id: summary for summary in summaries}
    noted = _noted(known.calls)
    groups = _groups(by_id, noted)
    paired = {trace_id for trace_id, one in by_id.items() if _is_paired(one, groups[trace_id])}
    judge = _Judge(known, Customs(by_id.values(), paired, known.judged), paired)
    own = {trace_id: judge.own(one, noted.get(trace_id) or _by_request(one, noted)) for trace_id, one in by_id.items()}
    return {trace_id: judge.status(one, groups[trace_id], own) for trace_id, one in by_id.items()}


def _is_paired(summary: Summary, group: tuple[Summary, ...]) -> bool:
    """Whether it was begun by a service that another trace with its request id entered."""
    begun = {one.service for one in summary.calls.begun}
    return any(entry.service in begun for other in group if other is not summary for entry in other.calls.entries)


@dataclass(frozen=True, slots=True)
class _Own:
    """What one trace says by itself: `breaks` shows that it is not whole, `doubts` that it need not be."""

    call: Call | None
    cut: tuple[bool, ...]
    breaks: tuple[str, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Judge:
    known: Known
    customs: Customs
    paired: Collection[str]

    def own(self, summary: Summary, call: Call | None) -> _Own:
        cut = self._cut(summary, call)
        return _Own(call, cut, tuple(_breaks(summary, cut)), tuple(self._doubts(summary, call, cut)))

    def _cut(self, summary: Summary, call: Call | None) -> tuple[bool, ...]:
        # A requester that carries on the context of its user's own names a parent that no store ever sees.
        foreign = call is not None and call.verdict == "connected" and len(summary.tops) == 1
        begins = (summary.tops[0].orphan and not foreign) or self._continues(summary, call)
        return tuple(place > 0 or begins for place in range(len(summary.tops)))

    def _continues(self, summary: Summary, call: Call | None) -> bool:
        """Whether it is the rest of a call that came into the service that began it."""
        here = [one for one in summary.calls.begun if one.target and one.service in self.customs.served]
        told = call is not None and call.verdict == "broken" and summary.trace_id in call.trace_ids
        return bool(here) and (summary.trace_id in self.paired or told or any(map(self.customs.follows_a_call, here)))

    def _doubts(self, summary: Summary, call: Call | None, cut: tuple[bool, ...]) -> Iterator[str]:
        if call and call.verdict == "connected":
            return
        if summary.cut:
            yield "The trace is longer than the store keeps: spans are missing"
        if self.known.lost_ns and summary.changed_ns <= self.known.lost_ns + ARRIVING_NS:
            yield "The store dropped traces of that time to make room: a piece of this call may be among them"
        if call and call.verdict == "unproven":
            yield from call.problems or ("The requester could not show that the call is connected",)
        if summary.failures and not summary.failed:
            yield f"Spans of {', '.join(summary.failures)} failed: what they would have called is not known"
        if not cut[0]:
            yield from self.customs.doubts(summary)

    def status(self, summary: Summary, group: tuple[Summary, ...], own: Mapping[str, _Own]) -> TraceStatus:
        mine = own[summary.trace_id]
        siblings = tuple(other.trace_id for other in group if other is not summary)
        told = mine.call is not None and mine.call.verdict == "broken"
        torn = any(one.trace_id in self.paired for one in group) or (told and len(group) > 1)
        breaks = list(mine.breaks)
        if torn:
            breaks.append(f"One call left {len(group)} traces behind; this is one of them")
        if mine.call and mine.call.verdict == "broken":
            breaks.extend(mine.call.problems or ("The requester found the call broken",))
        state, reasons = _state(summary, mine, breaks)
        if reasons and max(piece.changed_ns for piece in group) > self.known.now_ns - ARRIVING_NS:
            state = State.ARRIVING
        return TraceStatus(state, mine.cut, tuple(dict.fromkeys(reasons)), siblings, mine.call, torn)


def _state(summary: Summary, own: _Own, breaks: list[str]) -> tuple[State, list[str]]:
    if breaks:
        return State.BROKEN, breaks
    if own.call and own.call.verdict == "failed":
        return State.FAILED, [*own.call.problems, *own.doubts] or ["The requester found that the call failed"]
    if summary.failed:
        failed = f"It failed: spans of {', '.join(summary.failures)} say so"
        return State.FAILED, [failed, *own.doubts]
    return (State.UNPROVEN, list(own.doubts)) if own.doubts else (State.WHOLE, [])


def _breaks(summary: Summary, cut: tuple[bool, ...]) -> Iterator[str]:
    if len(summary.tops) > 1:
        yield f"The trace falls into {len(summary.tops)} pieces"
    for top in dict.fromkeys(top for top, off in zip(summary.tops, cut, strict=True) if off):
        if top.orphan:
            yield f"{top.node} names a parent span that never came: its caller left no span"
        elif top.kind is not Kind.SERVER:
            yield f"{top.node} called on without the trace headers: the trace begins at its outbound call"


def _noted(calls: Iterable[Call]) -> dict[str, Call]:
    """Calls by trace id and by request id; the newest note wins."""
    noted: dict[str, Call] = {}
    for call in calls:
        for key in (*call.trace_ids, f"request {call.request_id}" if call.request_id else ""):
            noted.setdefault(key, call)
    return noted


def _by_request(summary: Summary, noted: dict[str, Call]) -> Call | None:
    return next((noted[key] for key in _request_keys(summary) if key in noted), None)


def _request_keys(summary: Summary) -> list[str]:
    return [f"request {request_id}" for request_id in summary.request_ids]


def _groups(by_id: dict[str, Summary], noted: dict[str, Call]) -> dict[str, tuple[Summary, ...]]:
    """Each trace's call: the traces that share a request id, or that the requester noted together; itself too."""
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for trace_id, summary in by_id.items():
        for key in _request_keys(summary):
            members[key][trace_id] = None
    groups: dict[str, tuple[Summary, ...]] = {}
    for trace_id, summary in by_id.items():
        found = {trace_id: None}
        for key in _request_keys(summary):
            if len(members[key]) <= _MOST_PIECES:
                found |= members[key]
        if trace_id in noted:
            found |= dict.fromkeys(other for other in noted[trace_id].trace_ids if other in by_id)
        groups[trace_id] = tuple(sorted((by_id[other] for other in found), key=lambda piece: piece.start_ns))
    return groups
