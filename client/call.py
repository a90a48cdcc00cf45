"""`client call`: drives the chain once per pattern and gives the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from client.channel import open_channel, reach
from client.context import begins_a_trace, metadata, new_context
from client.options import CallOptions, Target
from client.outcome import Outcome
from client.rpc import Landing, perform
from client.verdict import BROKEN, CONNECTED, FAILED, Judgement, judge, no_trace_came


@dataclass(frozen=True)
class Judged:
    """A call and its verdict."""

    outcome: Outcome
    judgement: Judgement


@dataclass(frozen=True)
class Run:
    """All calls of one command, with what concerns no single one of them."""

    target: str
    calls: tuple[Judged, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of the calls' verdicts; a problem of the run breaks it."""
        verdicts = {call.judgement.verdict for call in self.calls}
        if FAILED in verdicts:
            return FAILED
        return BROKEN if BROKEN in verdicts or self.problems else CONNECTED


async def run(options: CallOptions) -> Run:
    """Makes the calls in turn and judges them. Raises NothingAnswers."""
    target = options.target
    async with open_channel(target.address, target.tls, target.authority) as channel:
        await reach(channel, target.address, target.timeout)
        driver = Driver(Landing(channel), target)
        outcomes = [await driver.call(rpc, options.data) for _ in range(options.repeat) for rpc in options.rpcs]
    judged = [Judged(outcome, judge(outcome, options.expect, target.custom_keys)) for outcome in outcomes]
    return Run(target.address, tuple(judged), notes=tuple(driver.notes))


class Driver:
    """Makes calls, and begins the traces itself once it is seen that nobody else does."""

    def __init__(self, landing: Landing, target: Target) -> None:
        self._landing = landing
        self._target = target
        self._begins_traces = False
        self.notes: list[str] = []

    async def call(self, rpc: str, data: tuple[int, ...]) -> Outcome:
        outcome = await self._perform(rpc, data)
        if self._begins_traces or begins_a_trace(self._target.custom) or not no_trace_came(outcome):
            return outcome
        self._begins_traces = True
        self.notes.append(
            f"{outcome.hops[0].service} received no trace header: nothing in front of it traces; "
            "called again with a trace context of the requester's own"
        )
        return await self._perform(rpc, data)

    async def _perform(self, rpc: str, data: tuple[int, ...]) -> Outcome:
        context = new_context() if self._begins_traces else None
        sent = metadata(self._target.custom, context)
        return await perform(self._landing, rpc, data, sent, self._target.timeout)
