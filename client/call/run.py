"""`client call`: drives the chain once per pattern and gives the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TypeAlias

from client.call import drive
from client.call.drive import Driver, Findings, Made, Tell
from client.call.outcome import Outcome
from client.call.rpc import SERVICE, Landing
from client.call.traces import Asking, look_up
from client.call.verdict import CONNECTED, UNPROVEN, WORST_FIRST, Judgement, Question, judge, sent_id
from client.options import CallOptions
from grpc_tracing.backends.jaeger import StoreUnreadable
from grpc_tracing.calling.channel import open_channel, reach
from grpc_tracing.evidence.causes import Finding, finding
from grpc_tracing.evidence.links import Context
from grpc_tracing.evidence.notes import Note, note
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import reported_id
from grpc_tracing.evidence.seen import Seen
from grpc_tracing.headers.reading import in_32_digits

Working: TypeAlias = Callable[[str], AbstractAsyncContextManager[Tell]]
"""Tells the user what goes on while a step takes long, and how far it has come."""


@dataclass(frozen=True)
class Judged:
    """A call and its verdict; `seen` is what the trace backend shows of it, None where none was read."""

    outcome: Outcome
    judgement: Judgement
    seen: Seen | None = None

    @property
    def picture(self) -> Picture | None:
        """Its spans, those of the pieces that were found among them."""
        if self.seen is None:
            return None
        return replace(self.seen.picture, spans=(*self.seen.picture.spans, *self.seen.pieces))


@dataclass(frozen=True)
class Run:
    """All calls of one command, with what concerns no single one of them.

    `unproven` are lines of what was asked for and could not be seen of any call.
    """

    target: str
    calls: tuple[Judged, ...]
    unproven: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(one.line for one in self.unproven)

    @property
    def verdict(self) -> str:
        """The worst of the calls' verdicts, and unproven where something of the run was not seen."""
        verdicts = {call.judgement.verdict for call in self.calls} | ({UNPROVEN} if self.unproven else set())
        return next((word for word in WORST_FIRST if word in verdicts), CONNECTED)


async def run(options: CallOptions, working: Working) -> Run:
    """Makes the calls and judges them. Raises NothingAnswers."""
    findings = Findings()
    made, exported = await _drive(options, working, findings)
    seen: Sequence[Seen | None] = [None] * len(made)
    unread = ""
    if options.traces:
        async with working(f"reading the traces at {options.traces.url}"):
            try:
                seen = await look_up(Asking(options.traces, options.expect, exported, options.wait), made)
            except StoreUnreadable as error:
                unread = str(error)
    judged = _judge_all(options, made, seen, unread)
    unproven = _unsampled(judged) if options.traces else ()
    notes = [*findings.notes, *_on_sampling(judged, asked=bool(options.traces))]
    return Run(options.target.address, judged, unproven, tuple(notes))


def _judge_all(
    options: CallOptions, made: Sequence[Made], seen: Sequence[Seen | None], unread: str
) -> tuple[Judged, ...]:
    question = Question(
        expected=options.expect,
        custom=options.target.custom_keys,
        required=options.require,
        unread=unread,
        lenient=options.service != SERVICE,
    )
    calls_of = trace_ids_of(made)
    return tuple(
        Judged(
            one.outcome, judge(one.outcome, question, Context(one.outcome.sent, (), (), calls_of, number), shown), shown
        )
        for number, (one, shown) in enumerate(zip(made, seen, strict=True), start=1)
    )


def trace_ids_of(made: Sequence[Made]) -> dict[str, int]:
    """The call that each trace id belongs to: what a call sent, else what its first hop received.

    An id that several calls sent, as with -H, belongs to none.
    """
    sent = [in_32_digits(sent_id(one.outcome.sent)) for one in made]
    first = [in_32_digits(reported_id(one.outcome.hops[0])) if one.outcome.hops else "" for one in made]
    found: dict[str, int] = {}
    for ids in (sent, first):
        times = Counter(ids)
        for number, trace_id in enumerate(ids, start=1):
            if trace_id.strip("0") and times[trace_id] == 1:
                found.setdefault(trace_id, number)
    return found


def _unsampled(calls: Sequence[Judged]) -> tuple[Finding, ...]:
    """Spans were asked for, and none of any call can exist."""
    marks = [call.judgement.unsampled for call in calls]
    if not calls or not all(marks):
        return ()
    hop, key = marks[0] or ("", "")
    return (finding("not-sampled", hop=hop, key=key),)


def _on_sampling(calls: Sequence[Judged], *, asked: bool) -> Iterator[Note]:
    marks = [mark for call in calls if (mark := call.judgement.unsampled)]
    if marks and not (asked and len(marks) == len(calls)):
        hop, key = marks[0]
        rest = f"; the backend has the other {len(calls) - len(marks)}" if asked else ""
        yield note("not-sampled", count=len(marks), total=len(calls), hop=hop, how=_how(key), rest=rest)


def _how(key: str) -> str:
    return "traceparent ends in -00" if key == "traceparent" else f"{key} says so"


async def _drive(options: CallOptions, working: Working, findings: Findings) -> tuple[list[Made], bool]:
    """The calls, and whether the requester's own root spans of them are exported."""
    target = options.target
    async with open_channel(target.address, target.tls, target.authority, target.timeout) as channel:
        async with working(f"connecting to {target.address}"):
            await reach(channel, target.address, target.timeout)
        roots = await drive.open_roots(options, findings)
        driver = Driver(Landing(channel, options.service), target, roots, findings)
        async with working(f"calling {target.address}") as tell:
            made = await driver.calls(options.rpcs * options.repeat, options.data, options.concurrency, tell)
    return made, await drive.export(roots, findings)
