"""The verdict of one call, read from what it left behind. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from client.call.answers import wrong_answers
from client.call.notes import notes
from client.call.outcome import Outcome
from grpc_tracing.evidence.blame import id_problems, lost_problems
from grpc_tracing.evidence.path import PathHop, align, called_nobody, fits
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import reported_id
from grpc_tracing.headers.families import Pair
from grpc_tracing.headers.reading import distinct, in_32_digits, read

CONNECTED, BROKEN, FAILED = "connected", "broken", "failed"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict of a call. `notes` are worth telling and break nothing; `traces` counts the ids in the records.

    trace_id: the first in the records, else what the call sent; empty where there is neither.
    """

    verdict: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    stops: tuple[PathHop, ...]
    trace_id: str
    traces: int

    @property
    def path(self) -> tuple[str, ...]:
        """The services that left a record, in order."""
        return tuple(stop.service for stop in self.stops if stop.hop)


def judge(
    outcome: Outcome, expected: Sequence[str], custom: Collection[str] = (), picture: Picture | None = None
) -> Judgement:
    """The verdict of a call over the `expected` services; `custom` are the keys given with -H.

    `picture` is what a trace backend shows of the call, where one was asked.
    """
    stops = align(outcome.hops, expected)
    ids = distinct(reported_id(hop) for hop in outcome.hops)
    failures = [*_status_problem(outcome, picture), *_answer_problems(outcome)]
    breaks = [*_path_problems(outcome, stops, expected), *lost_problems(stops, custom), *id_problems(stops)]
    breaks += _no_id_problem(outcome, ids)
    breaks += _picture_problems(outcome, picture, len(ids))
    return Judgement(
        verdict=FAILED if failures else BROKEN if breaks else CONNECTED,
        problems=(*failures, *breaks),
        notes=tuple(notes(outcome, stops, custom)),
        stops=stops,
        trace_id=in_32_digits(ids[0] if ids else sent_id(outcome.sent)),
        traces=len(ids),
    )


def sent_id(sent: Iterable[Pair]) -> str:
    """The trace id in what a call sent, in one spelling; empty: it sent none that can be read."""
    return next((context.trace_id for context in read(sent) if context.trace_id), "")


def no_trace_came(outcome: Outcome) -> bool:
    """True where the first record shows no trace header: nothing begins a trace before that hop."""
    return bool(outcome.hops) and not outcome.hops[0].trace_id


def _status_problem(outcome: Outcome, picture: Picture | None) -> Iterator[str]:
    if outcome.status == "DEADLINE_EXCEEDED" and not outcome.hops:
        deepest = f": the deepest hop that left a span is {picture.deepest}" if picture and picture.deepest else ""
        yield f"no answer within {outcome.timeout:g}s{deepest}"
    elif outcome.status != "OK":
        yield f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status


def _no_id_problem(outcome: Outcome, ids: Collection[str]) -> Iterator[str]:
    if outcome.status == "OK" and outcome.hops and not ids:
        first = outcome.hops[0].service
        yield f"no hop received a trace id that can be read: see the -H headers, and what stands in front of {first}"


def _answer_problems(outcome: Outcome) -> list[str]:
    if outcome.unreadable:
        return [f"{outcome.unreadable} of the answers cannot be read: no TalkResponse"]
    return wrong_answers(outcome.rpc, outcome.asked, outcome.responses) if outcome.status == "OK" else []


def _picture_problems(outcome: Outcome, picture: Picture | None, traces: int) -> Iterator[str]:
    if outcome.status == "OK" and picture is not None:
        yield from picture.problems(traces)
    elif outcome.status == "OK" and not outcome.hops:
        yield "no hop left a record, so nothing shows where the trace went: set TALK_HOP_RECORDS=on, or give --traces"


def _path_problems(outcome: Outcome, stops: Sequence[PathHop], expected: Sequence[str]) -> Iterator[str]:
    if not fits([hop.service for hop in outcome.hops], expected):
        path = ", ".join(hop.service for hop in outcome.hops)
        yield f"the path was {path}, expected {', '.join(expected)}"
    last = next((place for place in reversed(range(len(stops))) if stops[place].hop), len(stops))
    if outcome.status == "OK" and last + 1 < len(stops) and called_nobody(stops[last]):
        yield f"{stops[last].service} answered by itself, expected {stops[last + 1].service} after it"
