"""What the page "Propagation" and the audit's report show: pure functions of an audit and of example pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from grpc_tracing.audit.facts import Fact
from grpc_tracing.audit.pairs import Pair
from grpc_tracing.audit.result import CUTTING, Audit, Service, Word
from grpc_tracing.audit.words import summary, told
from grpc_tracing.store.axis import stretch, ticks
from grpc_tracing.store.fixes import Fix, fix

_NARROWEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One span of a pair; `left` and `width` in units of SCALE."""

    span: Fact
    what: str
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A pair on one axis; `ticks` are the times, in nanoseconds from its start, at each half."""

    pair: Pair
    bars: tuple[Bar, Bar]
    ticks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The pairs of one RPC, one target and one instance."""

    called: str
    out: str
    instance: str
    pairs: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service's evidence. `fix` is None where there is nothing to mend."""

    service: Service
    told: str
    shows: str
    groups: tuple[Group, ...]
    fix: Fix | None


@dataclass(frozen=True, slots=True)
class AuditView:
    """The table; `told` by service."""

    audit: Audit
    said: str
    told: Mapping[str, str]
    at_ns: int


def audit_view(audit: Audit, at_ns: int = 0) -> AuditView:
    """`at_ns`: when it was judged."""
    return AuditView(audit, summary(audit), {one.service: told(one) for one in audit.services}, at_ns)


def service_view(service: Service, examples: Sequence[Pair], languages: Iterable[str]) -> ServiceView:
    """`languages` are those that the spans of the service's SDK name."""
    groups = groupby(examples, key=lambda pair: (pair.called, pair.out, pair.instance))
    return ServiceView(
        service,
        told(service),
        _shows(service),
        tuple(Group(*key, tuple(_drawn(pair) for pair in group)) for key, group in groups),
        fix(service.where, tuple(languages)) if service.verdict in CUTTING else None,
    )


def _shows(service: Service) -> str:
    """What kind of evidence the verdict stands on."""
    match service.verdict:
        case Word.CUTS | Word.PARTLY if service.by_request_id:
            return (
                f"Calls out that begin a trace bear the x-request-id of a call into {service.service} that stands in "
                "another trace. So the service passes the id on and the trace headers not: that is certain, call by "
                "call."
            )
        case Word.CUTS | Word.PARTLY:
            return (
                "Calls out that begin a trace follow the calls in at the same instance far more often than chance "
                f"would have it{_z(service)}. One pair alone proves nothing; all of them together do."
            )
        case Word.JOB:
            return "These calls out begin traces and follow no call in: a timer or a queue's worker makes them."
        case Word.WHOLE:
            return "Each call out stands in the trace of a call in."
        case Word.UNKNOWN:
            return "Only calls in were seen, so there is nothing to judge."
        case _:
            return "What was seen fits a cut as well as a job."


def _z(service: Service) -> str:
    return "" if service.z is None else f" (z {service.z:.1f}; chance alone gives one near 0)"


def _drawn(pair: Pair) -> Drawn:
    start = min(pair.call_in.start, pair.call_out.start)
    length = max(1, max(pair.call_in.end, pair.call_out.end) - start)
    what = ("call in", "call out" if pair.out else "its SDK's span")
    bars = tuple(
        _bar(span, name, start, length) for span, name in zip((pair.call_in, pair.call_out), what, strict=True)
    )
    return Drawn(pair, (bars[0], bars[1]), ticks(length, 2))


def _bar(span: Fact, what: str, start: int, length: int) -> Bar:
    return Bar(span, what, *stretch(span.start - start, span.end - span.start, length, _NARROWEST))
