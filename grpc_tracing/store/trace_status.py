"""The status of a trace: whole, broken or still arriving, why, and which other traces are pieces of the same call."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from grpc_tracing.spans.model import Kind
from grpc_tracing.store.calls import Call
from grpc_tracing.store.summary import Summary, Top

# The proxies of a call report one after the other; until then a trace that lacks a span is not called broken.
ARRIVING_NS = 1_500_000_000
# More traces share a request id only where a caller sends the same one always: they are no pieces of one call.
_MOST_PIECES = 100


class State(StrEnum):
    """What a list shows at a glance."""

    WHOLE = "whole"
    BROKEN = "broken"
    ARRIVING = "arriving"


@dataclass(frozen=True, slots=True)
class TraceStatus:
    """The status of one trace.

    `cut` says of each piece, in the order of the trace's tops, whether it hangs in the air. `siblings` are the other
    traces of the same call, the earliest first; `call` is the requester's note of it.
    """

    state: State
    cut: tuple[bool, ...]
    reasons: tuple[str, ...]
    siblings: tuple[str, ...]
    call: Call | None


def trace_statuses(summaries: Iterable[Summary], calls: Iterable[Call], now_ns: int) -> dict[str, TraceStatus]:
    """By trace id, for all of these summaries. `calls` come newest first."""
    by_id = {summary.trace_id: summary for summary in summaries}
    # The services that are called by others: their outbound calls belong below the call that they got.
    served = frozenset(service for summary in by_id.values() for service in summary.serves)
    noted = _noted(calls)
    call_of = {trace_id: noted.get(trace_id) or _by_request(one, noted) for trace_id, one in by_id.items()}
    cuts = {trace_id: _cut(one, served, call_of[trace_id]) for trace_id, one in by_id.items()}
    own = {trace_id: tuple(_reasons(one, cuts[trace_id])) for trace_id, one in by_id.items()}
    groups = _groups(by_id, noted)
    return {
        trace_id: _status(one, cuts[trace_id], own, groups[trace_id], call=call_of[trace_id], now_ns=now_ns)
        for trace_id, one in by_id.items()
    }


def _cut(summary: Summary, served: frozenset[str], call: Call | None) -> tuple[bool, ...]:
    # A requester that carries on the context of its user's own names a parent that no store ever sees.
    foreign = call is not None and call.verdict == "connected" and len(summary.tops) == 1
    return tuple(place > 0 or _hangs(top, served, foreign=foreign) for place, top in enumerate(summary.tops))


def _hangs(top: Top, served: frozenset[str], *, foreign: bool) -> bool:
    return not foreign if top.orphan else top.kind is Kind.CLIENT and top.node in served


def _reasons(summary: Summary, cut: tuple[bool, ...]) -> Iterator[str]:
    if len(summary.tops) > 1:
        yield f"The trace falls into {len(summary.tops)} pieces"
    for top in dict.fromkeys(top for top, off in zip(summary.tops, cut, strict=True) if off):
        if top.orphan:
            yield f"{top.node} names a parent span that never came: its caller left no span"
        elif top.kind is Kind.CLIENT:
            yield f"{top.node} called on without the trace headers: the trace begins at its outbound call"
    if summary.cut:
        yield "The trace is longer than the store keeps: spans are missing"


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


def _status(
    summary: Summary,
    cut: tuple[bool, ...],
    own: dict[str, tuple[str, ...]],
    group: tuple[Summary, ...],
    *,
    call: Call | None,
    now_ns: int,
) -> TraceStatus:
    siblings = tuple(other.trace_id for other in group if other is not summary)
    reasons = list(own[summary.trace_id])
    if siblings and any(own[other] for other in siblings):
        reasons.append(f"One call left {len(group)} traces behind; this is one of them")
    if call and call.verdict == "broken":
        reasons.extend(call.problems or ("The requester found the call broken",))
    state = State.BROKEN if reasons else State.WHOLE
    if reasons and max(piece.changed_ns for piece in group) > now_ns - ARRIVING_NS:
        state = State.ARRIVING
    return TraceStatus(state, cut, tuple(dict.fromkeys(reasons)), siblings, call)
