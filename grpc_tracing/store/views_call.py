"""The whole call beside one of its traces: its pieces sewn together, and each header's thread through the hops."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.calls import Hop
from grpc_tracing.store.seam import Known, Sewn, sew
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.suspects import Doubtful, Suspects
from grpc_tracing.store.threads import Thread, threads
from grpc_tracing.store.trace_status import TraceStatus

MOST_PIECES: Final = 20
MOST_SPANS: Final = 5000
"""Of all pieces together: a longer call's are left out."""


@dataclass(frozen=True, slots=True)
class CallView:
    """`sewn` is None where nothing joins any pieces; `left_out` says how many pieces are too many or too long to draw.

    `hops` are those of the threads.
    """

    sewn: Sewn | None
    left_out: int
    doubtful: tuple[Doubtful, ...]
    hops: tuple[Hop, ...]
    threads: tuple[Thread, ...]


def call_view(pieces: Iterable[Trace], status: TraceStatus, known: Suspects, left_out: int = 0) -> CallView:
    """`pieces` are this trace and the others that may belong to its call."""
    sewn = sew(tuple(pieces), Known(status.call, known.sure))
    told = threads(status.call) if status.call else ()
    return CallView(sewn, left_out, known.doubtful, status.call.hops if status.call else (), told)


def chosen(own: Summary, others: Sequence[Summary]) -> tuple[tuple[str, ...], int]:
    """The ids of this trace and of those that are sewn to it, and how many are left out."""
    taken, spans = [own.trace_id], own.spans
    for one in others:
        if len(taken) < MOST_PIECES and spans + one.spans <= MOST_SPANS:
            taken.append(one.trace_id)
            spans += one.spans
    return tuple(taken), 1 + len(others) - len(taken)
