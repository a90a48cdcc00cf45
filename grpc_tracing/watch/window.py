"""The evidence of the last while, by steps: each trace stands in one of them, and all of them are judged together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.merge import merged
from grpc_tracing.audit.result import Audit
from grpc_tracing.audit.sampling import Sampling

_ENTERED, _BEGUN = 18, 16
"""Bytes of a call in and of a begun trace."""
_KEY: Final = 900
"""And of each place, RPC, target or version that they are kept by, with its arrays."""


@dataclass(frozen=True)
class Step:
    """What came from `begin` to `end`, in seconds; whether its calls count, or only its evidence; and how much it
    takes, in bytes. `missing` says what could not be read of it."""

    begin: float
    end: float
    evidence: Ledger
    counts: bool
    size: int
    missing: tuple[str, ...] = ()
    counted: set[tuple[str, str]] = field(default_factory=set)
    """Services and targets whose cut calls in it were counted."""


@dataclass
class Window:
    """Steps of the last `length` seconds, and of no more than `size` bytes."""

    length: float
    size: int
    steps: deque[Step] = field(default_factory=deque)
    shortened: int = 0
    """Steps that went before their time, for room."""

    def add(self, step: Step) -> None:
        self.steps.append(step)
        while self.steps[0].end <= step.end - self.length:
            self.steps.popleft()
        while self.bytes > self.size and len(self.steps) > 1:
            self.shorten()

    def shorten(self) -> None:
        """The oldest step makes room."""
        self.steps.popleft()
        self.shortened += 1

    @property
    def bytes(self) -> int:
        return sum(step.size for step in self.steps)

    @property
    def held(self) -> float:
        """Seconds of which the evidence is there."""
        return sum(step.end - step.begin for step in self.steps)


def judged(steps: Sequence[Step], sampling: Sampling | None) -> Audit:
    """All steps as one. It may take seconds, and changes nothing that it reads."""
    missing = [one for step in steps for one in step.missing]
    return judge(merged(step.evidence for step in steps), missing, sampling)


def size_of(ledger: Ledger) -> int:
    """Bytes, of what grows with spans and with names."""
    entered = [one for routes in ledger.calls_in.values() for one in routes.values()]
    begun = [one for outs in ledger.outs.values() for one in outs.began.values()]
    whole = sum(len(outs.whole) for outs in ledger.outs.values())
    calls = _ENTERED * sum(len(one.starts) for one in entered) + _BEGUN * sum(len(one.starts) for one in begun)
    names = len(ledger.services) + sum(map(len, ledger.versions.values())) + len(ledger.called)
    return calls + _KEY * (len(entered) + len(begun) + whole + names)
