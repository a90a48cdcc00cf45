"""The watch while it runs: what it knows, how fresh that is, and how each step is judged."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from grpc_tracing.audit.result import Audit, Service, Word
from grpc_tracing.audit.sampling import Sampling
from grpc_tracing.audit.words import told
from grpc_tracing.printable import one_line
from grpc_tracing.store.receive import BAD_IDS, Kept, Receiver
from grpc_tracing.watch.core import Dropped, Known
from grpc_tracing.watch.intake import facts_of
from grpc_tracing.watch.memory import hand_back
from grpc_tracing.watch.sight import Sight
from grpc_tracing.watch.window import Step, judged


@dataclass(eq=False)
class Live:
    """Not for threads, but for the judgement itself."""

    known: Known
    clock: Callable[[], float] = time.monotonic
    succeeded: float = 0.0
    """Unix time."""
    unsent: int = 0
    after: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Called when a window was judged."""
    sight: Sight = field(init=False)
    receiver: Receiver = field(init=False)

    def __post_init__(self) -> None:
        self.sight = Sight(self.clock())
        self.receiver = Receiver(self)

    def keep(self, request: ExportTraceServiceRequest) -> Kept:
        """Takes the spans of a request, and says which not."""
        now = self.clock()
        self.sight.lost += self.hear(now)
        before = self.known.spans
        dropped = self.known.take(facts_of(request, self.known.names), now)
        rejected = dropped[Dropped.BAD_IDS] + dropped[Dropped.MEMORY]
        taken = self.known.spans - before - rejected
        self.known.settle(now, 2 * taken)
        full = "--max-bytes is reached, spans are dropped until older ones leave the window"
        return Kept(taken, rejected, full if dropped[Dropped.MEMORY] else BAD_IDS)

    def hear(self, now: float) -> float:
        """Something was read; says so, and for how long, where it was blind before."""
        if blind := self.sight.hears(now):
            say(f"reads again: it was blind for {blind:.0f} s")
        return blind

    async def judge(self, steps: list[Step]) -> None:
        """Beside the event loop: it may take seconds."""
        begun = self.clock()
        audit = await asyncio.to_thread(_judged, steps, self.known.sampling)
        before = self.known.audit
        self.known.judge(audit, steps, self.clock() - begun)
        self.succeeded = time.time()
        tell(before, audit)
        for after in self.after:
            await after()


def _judged(steps: Sequence[Step], sampling: Sampling | None) -> Audit:
    """What it took meanwhile is not kept for the next time."""
    audit = judged(steps, sampling)
    hand_back()
    return audit


def say(text: str) -> None:
    """A line for who runs it."""
    sys.stderr.write(f"{_now()} {text}\n")


def tell(before: Audit | None, audit: Audit) -> None:
    """A line for each service whose word is another one now. Nobody may be there to read it."""
    words = {one.service: one.verdict for one in before.services} if before else {}
    lines = [_line(one, words.get(one.service)) for one in audit.services if words.get(one.service) is not one.verdict]
    try:
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    except OSError:
        pass


def _line(one: Service, before: Word | None) -> str:
    was = f" (was {before})" if before else ""
    return f"{_now()} {one.verdict:<11}  {one_line(one.service)}{was}  {told(one)}\n"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
