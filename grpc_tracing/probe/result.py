"""What a check found, in one object that every view shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grpc_tracing.probe.calls import Call

CONNECTED, BROKEN, FAILED, UNPROVEN = "connected", "broken", "failed", "unproven"
WORST_FIRST: Final = (FAILED, BROKEN, UNPROVEN, CONNECTED)
EXIT_CODES: Final = {CONNECTED: 0, BROKEN: 1, FAILED: 1, UNPROVEN: 3}

Edge = tuple[str, str]
"""Caller and callee."""


@dataclass(frozen=True)
class Cut:
    """A service that began a trace of its own inside these calls: `service` for its calls to `target`.

    Without a service, the target began it: what calls the target handed no trace on. `by` is `request id`, which is
    certain, or `time`; `chance` is how likely so many of `of` calls hold one by chance, None where it is certain.
    """

    service: str
    target: str
    calls: int
    of: int
    by: str
    chance: float | None
    trace_id: str

    @property
    def certain(self) -> bool:
        return self.chance is None or self.chance < CERTAIN


CERTAIN: Final = 0.001


@dataclass(frozen=True)
class Seen:
    """One call and what its spans show: `edges` in the order of time, `problems` what was not seen, in words.

    `broken`: a cut that is certain lies in this call.
    """

    call: Call
    services: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    pieces: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    broken: bool = False

    @property
    def verdict(self) -> str:
        if not self.call.ok:
            return FAILED
        return BROKEN if self.broken else UNPROVEN if self.problems else CONNECTED


@dataclass(frozen=True)
class Check:
    """All calls of one command."""

    target: str
    method: str
    calls: Sequence[Seen]
    cuts: Sequence[Cut]

    @property
    def verdict(self) -> str:
        found = {one.verdict for one in self.calls}
        return next(word for word in WORST_FIRST if word in found)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def document(self, answers: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """As JSON; `answers` are each call's."""
        return {
            "verdict": self.verdict,
            "target": self.target,
            "method": self.method,
            "cuts": [
                {
                    "service": one.service or None,
                    "target": one.target,
                    "calls": one.calls,
                    "of": one.of,
                    "by": one.by,
                    "chance": one.chance,
                    "certain": one.certain,
                    "trace_id": one.trace_id,
                }
                for one in self.cuts
            ],
            "calls": [_document(one, its) for one, its in zip(self.calls, answers, strict=True)],
        }


def _document(seen: Seen, answers: Sequence[Any]) -> dict[str, Any]:
    call = seen.call
    return {
        "verdict": seen.verdict,
        "status": call.status,
        "message": call.message,
        "stopped": call.stopped,
        "duration_ms": round((call.ended_ns - call.began_ns) / 1e6, 3),
        "trace_id": call.trace_id,
        "request_id": call.request_id,
        "services": list(seen.services),
        "edges": [list(edge) for edge in seen.edges],
        "pieces": list(seen.pieces),
        "problems": list(seen.problems),
        "answers": list(answers),
    }
