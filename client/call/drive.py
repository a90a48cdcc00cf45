"""Making the calls of a run: with a root span of the requester's own where it can be exported, else without."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import grpc

from client.call.context import TraceContext, begins_a_trace, metadata, new_context
from client.call.outcome import Outcome
from client.call.rpc import Landing, perform
from client.call.verdict import no_trace_came
from client.options import CallOptions, Target
from grpc_tracing.evidence.notes import Note, note

if TYPE_CHECKING:
    from client.call.exporting import Roots

Tell: TypeAlias = Callable[[str], None]
"""Takes how far a step has come, in words."""


@dataclass(frozen=True)
class Made:
    """A call that was made, and the trace context that the requester sent with it."""

    outcome: Outcome
    context: TraceContext | None = None


@dataclass
class Findings:
    """What is worth telling of the whole run and of no single call."""

    notes: list[Note] = field(default_factory=list)


async def open_roots(options: CallOptions, findings: Findings) -> Roots | None:
    """The requester's own root spans; None where they are not asked for, in the way, or nobody takes them."""
    if options.otlp is None:
        return None
    if begins_a_trace(options.target.custom):
        findings.notes.append(note("headers-begin-it"))
        return None
    # OpenTelemetry's SDK takes as long to import as all else together: who sends no spans does not wait for it.
    from client.call.exporting import Roots  # noqa: PLC0415

    roots = Roots(options.otlp, options.target.address)
    if await roots.answers():
        return roots
    findings.notes.append(note("no-taker", url=options.otlp))
    return None


async def export(roots: Roots | None, findings: Findings) -> bool:
    """True where the root spans are exported."""
    if roots is None or await roots.export():
        return roots is not None
    findings.notes.append(note("not-exported"))
    return False


class Driver:
    """Makes calls, and begins the traces itself once it is seen that nobody else does."""

    def __init__(self, landing: Landing, target: Target, roots: Roots | None, findings: Findings) -> None:
        self._landing = landing
        self._target = target
        self._roots = roots
        self._begins_traces = False
        self._findings = findings

    async def calls(self, rpcs: Sequence[str], data: tuple[int, ...], at_once: int, tell: Tell) -> list[Made]:
        """A call of each RPC, in their order, `at_once` in flight; the first goes alone and shows who begins traces."""
        ended = itertools.count(1)
        gate = asyncio.Semaphore(at_once)

        async def one(rpc: str) -> Made:
            async with gate:
                made = await self.call(rpc, data)
            tell(f"{next(ended)} of {len(rpcs)} calls")
            return made

        first = await one(rpcs[0])
        if at_once > 1:
            return [first, *await asyncio.gather(*map(one, rpcs[1:]))]
        return [first, *[await one(rpc) for rpc in rpcs[1:]]]

    async def call(self, rpc: str, data: tuple[int, ...]) -> Made:
        if self._roots:
            return await self._with_root(self._roots, rpc, data)
        made = await self._perform(rpc, data, new_context() if self._begins_traces else None)
        if made.context or begins_a_trace(self._target.custom) or not no_trace_came(made.outcome):
            return made
        self._begins_traces = True
        self._findings.notes.append(note("nobody-traces", hop=made.outcome.hops[0].service))
        return await self._perform(rpc, data, new_context())

    async def _with_root(self, roots: Roots, rpc: str, data: tuple[int, ...]) -> Made:
        span = roots.begin(rpc)
        made = await self._perform(rpc, data, roots.context_of(span))
        roots.end(span, made.outcome, grpc.StatusCode[made.outcome.status].value[0])
        return made

    async def _perform(self, rpc: str, data: tuple[int, ...], context: TraceContext | None) -> Made:
        sent = metadata(self._target.custom, context)
        return Made(await perform(self._landing, rpc, data, sent, self._target.timeout), context)
