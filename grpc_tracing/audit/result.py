"""What an audit says: one object, which text, JSON and JUnit show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # it brings numpy, which who shows a result need not load
    from grpc_tracing.audit.sampling import Sampling


class Word(StrEnum):
    """The verdict on a service, worst first."""

    CUTS = "cuts"
    PARTLY = "partly"
    CANNOT_TELL = "cannot tell"
    UNKNOWN = "unknown"
    JOB = "job"
    WHOLE = "whole"


WORST = tuple(Word)
CUTTING = frozenset({Word.CUTS, Word.PARTLY})


@dataclass(frozen=True, slots=True)
class Route:
    """Calls out to one target that belong to one RPC of the calls in; an empty RPC where they cannot be told apart."""

    called: str
    out: str
    calls_out: int
    cut: int
    verdict: Word

    def document(self) -> dict[str, Any]:
        return {
            "in": self.called,
            "out": self.out,
            "calls_out": self.calls_out,
            "cut": self.cut,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True)
class Instance:
    instance: str
    version: str
    calls_out: int
    cut: int

    def document(self) -> dict[str, Any]:
        return {"instance": self.instance, "version": self.version, "calls_out": self.calls_out, "cut": self.cut}


class Needs(NamedTuple):
    """What would tell a cut from a job: so many more begun traces, or to know that so much is sampled at the least."""

    calls: int
    sampling: float | None

    def document(self) -> dict[str, Any]:
        return {"calls": self.calls, "sampling": _rounded(self.sampling)}


@dataclass(frozen=True, slots=True)
class Service:
    """`share` is cut calls to calls out with its interval of 95 %; `effect` the share of begun traces that follow a
    call in beyond chance, corrected for sampling."""

    service: str
    verdict: Word
    calls_out: int = 0
    begun: int = 0
    cut: int = 0
    interval: tuple[float, float] | None = None
    by_request_id: int = 0
    z: float | None = None
    effect: float | None = None
    where: str | None = None
    routes: tuple[Route, ...] = ()
    instances: tuple[Instance, ...] = ()
    since: str | None = None
    """The version with which its cut began, where versions before it do not cut."""
    examples: tuple[tuple[str, str], ...] = ()
    needs: Needs | None = None
    causes: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        return self.cut / self.calls_out if self.calls_out else None

    def document(self) -> dict[str, Any]:
        name, _, namespace = self.service.partition(".")
        return {
            "service": name if namespace and "." not in namespace else self.service,
            "namespace": namespace if namespace and "." not in namespace else None,
            "verdict": self.verdict.value,
            "calls_out": self.calls_out,
            "begun": self.begun,
            "cut": self.cut,
            "share": _rounded(self.share),
            "share_interval": [_rounded(one) for one in self.interval] if self.interval else None,
            "by_request_id": self.by_request_id,
            "z": _rounded(self.z),
            "effect": _rounded(self.effect),
            "where": self.where,
            "routes": [one.document() for one in self.routes],
            "instances": [one.document() for one in self.instances],
            "since": self.since,
            "examples": [{"call_in": entered, "call_out": left} for entered, left in self.examples],
            "needs": self.needs.document() if self.needs else None,
            "causes": list(self.causes),
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """What is no cut and looks like one."""

    cause: str
    service: str
    evidence: str

    def document(self) -> dict[str, str]:
        return {"cause": self.cause, "service": self.service, "evidence": self.evidence}


@dataclass(frozen=True, slots=True)
class Audit:
    """`missing` says what could not be read: then nothing is whole."""

    spans: int
    traces: int
    window: tuple[int, int]
    sampling: Sampling | None
    services: tuple[Service, ...]
    problems: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        words = {one.verdict for one in self.services}
        if words & CUTTING:
            return "cuts"
        proven = words & {Word.WHOLE, Word.JOB} and Word.CANNOT_TELL not in words
        return "whole" if proven and not self.missing else "unproven"

    @property
    def exit_code(self) -> int:
        return {"whole": 0, "cuts": 1, "unproven": 3}[self.verdict] if self.spans else 2

    def document(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "window": {"from": self.window[0], "to": self.window[1]},
            "spans": self.spans,
            "traces": self.traces,
            "sampling": _sampling(self.sampling),
            "services": [one.document() for one in self.services],
            "problems": [one.document() for one in self.problems],
            "missing": list(self.missing),
        }


def _sampling(known: Sampling | None) -> dict[str, Any] | None:
    return {"estimate": _rounded(known.rate), "from": known.source} if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
