"""The status of every trace in the store, and all traces in columns, kept current as spans come in.

A trace is judged by the customs of all. Where few are kept, all are judged anew whenever one has changed. Where there
are many, one that has changed is judged at once, by customs that are some seconds old, and the others again in the
background.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from grpc_tracing.store.calls import CallLog
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.frame import Frame, Table
from grpc_tracing.store.live import Changes
from grpc_tracing.store.register import Register
from grpc_tracing.store.store import TraceStore, settled
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.trace_status import Judge, Known, Pace, State, TraceStatus, judge_of
from grpc_tracing.store.wholeness import Judged

FEW: Final = 1000
"""So many are judged in the time of a page."""
_REST: Final = 2
"""So many times as long as judging all took, the next time waits."""
_PAUSE: Final = 2.0
# In the background, so many without a break, and a break that lets others work.
_AT_ONCE: Final = 100
_BREATH: Final = 0.004


@dataclass(frozen=True, slots=True)
class Seen:
    """What was in the store at a moment."""

    now_ns: int
    table: Table
    statuses: Mapping[str, TraceStatus]
    by_id: Mapping[str, Summary]

    def within(self, bounds: tuple[int, int]) -> Chosen:
        """The traces that began in this time, in Unix ns."""
        return Chosen(self.table, self.table.since(*bounds))


class Standing:
    """Not for threads, but what it gives may be read in any."""

    def __init__(
        self,
        store: TraceStore,
        calls: CallLog,
        judged: Callable[[], Judged] = Judged,
        changes: Changes | None = None,
    ) -> None:
        """`changes` are told when statuses have changed in the background."""
        self._store = store
        self._calls = calls
        self._audited = judged
        self._changes = changes
        self._register = Register()
        self._frame = Frame()
        self._statuses: dict[str, TraceStatus] = {}
        self._due: dict[str, None] = {}
        self._arriving: dict[str, None] = {}
        self._noted = 0
        self._moved = False
        self._judge: Judge | None = None
        self._next = 0.0
        self._turn = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        store.follow(self._take, self._drop)

    async def current(self) -> Seen:
        """Of all spans that are here."""
        async with self._turn:
            await settled(self._store)
            self._read_notes()
            if self._judge and self._judge.known.judged != self._audited():
                self._moved = True
            if self._judge is None or len(self._register.by_id) <= FEW:
                if self._moved:
                    self._due = {}
                await self._judge_all(_at_once)
            elif time.monotonic() >= self._next:
                self._start(self._judge_again())
            await self._judge_due()
            return Seen(time.time_ns(), self._frame.table(), self._statuses.copy(), self._register.by_id)

    async def settled(self) -> None:
        """Waits for what goes on in the background, if anything does."""
        if self._work:
            await self._work

    def _take(self, summary: Summary) -> None:
        self._register.take(summary)
        self._due[summary.trace_id] = None
        self._moved = True
        # Without this, who opens a page after an hour would wait for the traces of an hour.
        if len(self._due) >= FEW:
            self._start(self._keep_up())

    def _drop(self, trace_id: str) -> None:
        summary = self._register.by_id.get(trace_id)
        if summary is not None:
            self._due |= {one.trace_id: None for one in self._register.group(summary) if one is not summary}
        self._register.drop(trace_id)
        self._frame.drop(trace_id)
        for held in (self._due, self._arriving, self._statuses):
            held.pop(trace_id, None)
        self._moved = True

    def _read_notes(self) -> None:
        for call in reversed(self._calls.newest(self._calls.added - self._noted)):
            self._due |= dict.fromkeys(self._register.note(call))
            self._moved = True
        self._noted = self._calls.added

    def _known(self) -> Known:
        return Known(time.time_ns(), tuple(self._calls), self._audited(), self._store.lost_ns)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        """One at a time."""
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(work)
        else:
            work.close()

    async def _keep_up(self) -> None:
        async with self._turn:
            if self._judge is None:
                await self._judge_all(self._paced)
            await self._judge_due()

    async def _judge_again(self) -> None:
        began = time.monotonic()
        await self._judge_all(self._paced)
        took = time.monotonic() - began
        self._next = began + took + max(_PAUSE, _REST * took)
        if self._changes:
            self._changes.tell()

    async def _judge_all(self, pace: Pace) -> None:
        if not self._moved and self._judge:
            return
        self._moved = False
        held, known = tuple(self._register.by_id.values()), self._known()
        self._judge, found = await asyncio.to_thread(_judged, held, known, pace)
        for place, (summary, status) in enumerate(zip(held, found, strict=False)):
            if self._register.by_id.get(summary.trace_id) is summary:
                self._set(summary, status)
            elif summary.trace_id in self._register.by_id:
                self._due[summary.trace_id] = None
            if place % 1000 == 999:
                await asyncio.sleep(0)

    async def _judge_due(self) -> None:
        """Those that changed and those whose spans may still come, and what belongs to one call with them."""
        assert self._judge is not None  # noqa: S101 - all were judged before
        due, self._due = {**self._due, **self._arriving}, {}
        known = replace(self._judge.known, now_ns=time.time_ns(), lost_ns=self._store.lost_ns)
        judge = replace(self._judge, known=known, register=self._register)
        for place, trace_id in enumerate(due):
            self._judge_call(judge, trace_id)
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _judge_call(self, judge: Judge, trace_id: str) -> None:
        summary = self._register.by_id.get(trace_id)
        group = self._register.group(summary) if summary else ()
        for one in group:
            self._register.pair(one)
        for one in group:
            self._set(one, judge.status(one))

    def _set(self, summary: Summary, status: TraceStatus) -> None:
        self._statuses[summary.trace_id] = status
        if status.state is State.ARRIVING:
            self._arriving[summary.trace_id] = None
        else:
            self._arriving.pop(summary.trace_id, None)
        self._frame.put(summary, status)

    def _paced(self, some: Iterable[Summary]) -> Iterator[Summary]:
        for place, one in enumerate(some):
            if self._changes and self._changes.ended:  # the process waits for its threads
                return
            if place % _AT_ONCE == _AT_ONCE - 1:
                time.sleep(_BREATH)
            yield one


def _judged(held: tuple[Summary, ...], known: Known, pace: Pace) -> tuple[Judge, list[TraceStatus]]:
    judge = judge_of(Register(pace(held), known.calls), known, pace)
    return judge, [judge.status(one) for one in pace(held)]


def _at_once(some: Iterable[Summary]) -> Iterable[Summary]:
    return some
