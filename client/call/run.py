"""`client call`: drives the chain once per pattern and gives the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from client.call import drive
from client.call.drive import Driver, Findings, Made
from client.call.outcome import Outcome
from client.call.rpc import Landing
from client.call.traces import pictures
from client.call.verdict import BROKEN, CONNECTED, FAILED, Judgement, judge
from client.options import CallOptions
from grpc_tracing.calling.channel import open_channel, reach
from grpc_tracing.evidence.picture import Picture

Working: TypeAlias = Callable[[str], AbstractAsyncContextManager[None]]
"""Tells the user what goes on while a step takes long."""


@dataclass(frozen=True)
class Judged:
    """A call and its verdict; `picture` is what the trace backend shows of it, None where none was read."""

    outcome: Outcome
    judgement: Judgement
    picture: Picture | None = None


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


async def run(options: CallOptions, working: Working) -> Run:
    """Makes the calls in turn and judges them. Raises NothingAnswers."""
    findings = Findings()
    made, exported = await _drive(options, working, findings)
    seen: Sequence[Picture | None] = [None] * len(made)
    if options.traces:
        async with working(f"reading the traces at {options.traces}"):
            seen = await pictures(options.traces, made, options.expect, exported, findings)
    judged = [_judged(one.outcome, options, picture) for one, picture in zip(made, seen, strict=True)]
    return Run(options.target.address, tuple(judged), tuple(findings.problems), tuple(findings.notes))


async def _drive(options: CallOptions, working: Working, findings: Findings) -> tuple[list[Made], bool]:
    """The calls, and whether the requester's own root spans of them are exported."""
    target = options.target
    async with open_channel(target.address, target.tls, target.authority) as channel:
        async with working(f"connecting to {target.address}"):
            await reach(channel, target.address, target.timeout)
        roots = await drive.open_roots(options, findings)
        driver = Driver(Landing(channel), target, roots, findings)
        async with working(f"calling {target.address}"):
            made = [await driver.call(rpc, options.data) for _ in range(options.repeat) for rpc in options.rpcs]
    return made, await drive.export(roots, findings)


def _judged(outcome: Outcome, options: CallOptions, picture: Picture | None) -> Judged:
    return Judged(outcome, judge(outcome, options.expect, options.target.custom_keys, picture), picture)
