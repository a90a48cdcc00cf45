"""The verdict of one call, read from what it left behind. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from client.call.answers import wrong_answers
from client.call.notes import notes
from client.call.outcome import Outcome
from grpc_tracing.evidence.causes import BREAKS, Finding, finding
from grpc_tracing.evidence.judge import Evidence, weigh
from grpc_tracing.evidence.kept import allowed_keys
from grpc_tracing.evidence.links import Context, Link
from grpc_tracing.evidence.notes import Note, note
from grpc_tracing.evidence.path import PathHop
from grpc_tracing.evidence.records import reported_id
from grpc_tracing.evidence.seen import Seen
from grpc_tracing.headers.families import Pair, carries_trace_id
from grpc_tracing.headers.reading import distinct, in_32_digits, read

CONNECTED, BROKEN, FAILED, UNPROVEN = "connected", "broken", "failed", "unproven"
WORST_FIRST = (FAILED, BROKEN, UNPROVEN, CONNECTED)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict of a call. `notes` are worth telling and break nothing; `traces` counts the ids in the records.

    `failures` say why a call failed; `findings` what breaks its trace or was not seen. trace_id: the first in the
    records, else what the call sent; empty where there is neither. `unsampled`: nothing of the call was sampled.
    """

    verdict: str
    failures: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    stops: tuple[PathHop, ...]
    links: tuple[Link, ...]
    trace_id: str
    traces: int
    unsampled: tuple[str, str] | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """A line each."""
        return tuple(one.line for one in (*self.failures, *self.findings))

    @property
    def path(self) -> tuple[str, ...]:
        """The services that left a record, in order."""
        return tuple(stop.service for stop in self.stops if stop.hop)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of each call of a run.

    `custom` are the keys given with -H, `required` those of --require. `unread` says why a backend that was asked could
    not be read. `lenient`: the service's answers carry less than the contract's.
    """

    expected: Sequence[str]
    custom: Collection[str] = ()
    required: Collection[str] = ()
    unread: str = ""
    lenient: bool = False


_ALONE: Final = Context()


def judge(outcome: Outcome, question: Question, context: Context = _ALONE, seen: Seen | None = None) -> Judgement:
    """The verdict of a call among the others of its run, which `context` knows.

    `seen` is what a trace backend shows of it, where one was read.
    """
    keys = {*allowed_keys(outcome.hops, question.custom), *question.required}
    evidence = weigh(
        outcome.hops, question.expected, replace(context, required=frozenset(keys), given=question.custom), seen
    )
    failures = [*_status_problem(outcome, seen), *_answer_problems(outcome, lenient=question.lenient)]
    findings = _findings(outcome, evidence, question, failed=bool(failures))
    ids = distinct(reported_id(hop) for hop in outcome.hops)
    return Judgement(
        verdict=_verdict(failures, findings),
        failures=tuple(failures),
        findings=findings,
        notes=tuple(_notes(outcome, evidence, question, seen)),
        stops=evidence.stops,
        links=evidence.links,
        trace_id=in_32_digits(ids[0] if ids else sent_id(outcome.sent)),
        traces=len(ids),
        unsampled=evidence.unsampled,
    )


def _verdict(failures: Sequence[Finding], findings: Sequence[Finding]) -> str:
    if failures:
        return FAILED
    if any(one.cause.means == BREAKS for one in findings):
        return BROKEN
    return UNPROVEN if findings else CONNECTED


def _findings(outcome: Outcome, evidence: Evidence, question: Question, *, failed: bool) -> tuple[Finding, ...]:
    if outcome.status != "OK":
        path = {"answered-by-itself", "another-path", "no-trace-id"}
        return tuple(one for one in evidence.findings if one.cause.means == BREAKS and one.cause.name not in path)
    if failed:
        return tuple(one for one in evidence.findings if one.cause.means == BREAKS)
    if question.unread and evidence.findings:
        return (*evidence.findings, finding("backend-unread", reason=question.unread))
    return evidence.findings


def _notes(outcome: Outcome, evidence: Evidence, question: Question, seen: Seen | None) -> Iterator[Note]:
    if question.unread and not evidence.findings:
        yield note("unread", reason=question.unread)
    yield from notes(outcome, evidence.stops, question.custom)
    yield from _leniently(outcome, question)
    if seen and not evidence.unsampled:
        yield from seen.notes()
    last = evidence.stops[-1]
    if outcome.status == "OK" and last.hop is None and evidence.links[-1].holds is None and not evidence.findings:
        yield note("as-far-as", hop=evidence.stops[-2].service, last=last.service)


def _leniently(outcome: Outcome, question: Question) -> Iterator[Note]:
    """What a strict reading would have called wrong answers."""
    if question.lenient and outcome.status == "OK" and not outcome.unreadable:
        passed = wrong_answers(outcome.rpc, outcome.asked, outcome.responses, lenient=True)
        for fault in wrong_answers(outcome.rpc, outcome.asked, outcome.responses)[:1]:
            if fault not in passed:
                yield note("leniently", fault=fault)


def sent_id(sent: Iterable[Pair]) -> str:
    """The trace id in what a call sent, in one spelling; empty: it sent none that can be read."""
    return next((context.trace_id for context in read(sent) if context.trace_id), "")


def no_trace_came(outcome: Outcome) -> bool:
    """True where the first record shows no trace header: nothing begins a trace before that hop."""
    return bool(outcome.hops) and not any(carries_trace_id(header.key) for header in outcome.hops[0].headers)


def _status_problem(outcome: Outcome, seen: Seen | None) -> Iterator[Finding]:
    if outcome.status == "DEADLINE_EXCEEDED" and not outcome.hops:
        deepest = seen.picture.deepest if seen else ""
        shown = f": the deepest hop that left a span is {deepest}" if deepest else ""
        yield finding("no-answer", timeout=f"{outcome.timeout:g}s", deepest=shown)
    elif outcome.status != "OK":
        message = outcome.message and f": {outcome.message}"
        yield finding("call-failed", outcome.status, status=outcome.status, message=message)
        yield from seen.gone() if seen else ()


def _answer_problems(outcome: Outcome, *, lenient: bool) -> list[Finding]:
    if outcome.unreadable:
        return [finding("unreadable-answers", count=outcome.unreadable, message="TalkResponse")]
    if outcome.status != "OK":
        return []
    faults = wrong_answers(outcome.rpc, outcome.asked, outcome.responses, lenient=lenient)
    return [finding("wrong-answers", fault=fault) for fault in faults]
