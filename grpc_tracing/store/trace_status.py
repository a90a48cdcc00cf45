"""The status of a trace: whole, not shown whole, broken, failed or still arriving, why, and what else its call left."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from grpc_tracing.spans.model import Kind
from grpc_tracing.store.calls import Call
from grpc_tracing.store.register import Register
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.wholeness import Customs, Judged

# The proxies of a call report one after the other; until then a trace that lacks a span is not called broken.
ARRIVING_NS = 1_500_000_000


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
    register = Register(summaries, known.calls)
    judge = judge_of(register, known)
    return {trace_id: judge.status(one) for trace_id, one in register.by_id.items()}


Pace = Callable[[Iterable[Summary]], Iterable[Summary]]
"""Gives the same, and lets others work in between."""


def judge_of(register: Register, known: Known, pace: Pace = iter) -> "Judge":
    """One who knows the customs of all traces there."""
    for one in pace(register.by_id.values()):
        register.pair(one)
    return Judge(known, Customs(pace(register.by_id.values()), register.paired, known.judged), register)


@dataclass(frozen=True, slots=True)
class _Own:
    """What one trace says by itself: `breaks` shows that it is not whole, `doubts` that it need not be."""

    call: Call | None
    cut: tuple[bool, ...]
    breaks: tuple[str, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges a trace by the customs of all; the register may have grown since these were taken."""

    known: Known
    customs: Customs
    register: Register

    def _own(self, summary: Summary) -> _Own:
        call = self.register.call(summary)
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
        return bool(here) and (
            summary.trace_id in self.register.paired or told or any(map(self.customs.follows_a_call, here))
        )

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

    def status(self, summary: Summary) -> TraceStatus:
        """Of a trace of the register."""
        mine, group = self._own(summary), self.register.group(summary)
        siblings = tuple(other.trace_id for other in group if other is not summary)
        told = mine.call is not None and mine.call.verdict == "broken"
        torn = any(one.trace_id in self.register.paired for one in group) or (told and len(group) > 1)
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
