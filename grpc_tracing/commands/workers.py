"""Blocks of lines become facts in processes beside this one: parsing JSON takes three quarters of an audit of files."""

from __future__ import annotations

import gc
import marshal
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Final, NamedTuple, Self

from grpc_tracing.audit.facts import Fact, Layer, fact
from grpc_tracing.backends.documents import Block, Part, part_of
from grpc_tracing.spans.model import Kind

_MOST: Final = 3
"""More parse faster than one process can keep account."""
_AHEAD: Final = 3
"""Blocks for each worker that wait for their turn or to be taken, so that none of them idles."""
_ALONE: Final = 4
"""Blocks that a process reads alone first: it is done with a small file before another has begun."""
_KINDS: Final = tuple(Kind)
_LAYERS: Final = tuple(Layer)
_Packed = tuple[bytes, str]
_Row = tuple[Any, ...]


class Facts(NamedTuple):
    """The facts of a block, and what is wrong after them, if anything is."""

    facts: list[Fact]
    wrong: str = ""


@contextmanager
def no_cycles() -> Iterator[None]:
    """For work that makes millions of objects and no circle of them: looking for some took a third of an audit."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Parsers:
    """Parse blocks beside this process, which does what they have no time for. They begin when there is enough to do.

    Where no process can be started, or one dies, this one does its work.
    """

    def __init__(self) -> None:
        self._workers = min(_MOST, _cores() - 1)
        self._pool: ProcessPoolExecutor | None = None
        self._blocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def facts_of(self, split: Iterable[Block | Part]) -> Generator[Facts]:
        """In the order of the blocks."""
        waiting: deque[tuple[Block | Part, Future[_Packed] | Facts]] = deque()
        for block in split:
            waiting.append((block, self._begun(block, [given for _, given in waiting])))
            while waiting and (_is_done(waiting[0][1]) or len(waiting) > self._workers * _AHEAD):
                yield _taken(*waiting.popleft())
        while waiting:
            yield _taken(*waiting.popleft())

    def _begun(self, block: Block | Part, before: Iterable[Future[_Packed] | Facts]) -> Future[_Packed] | Facts:
        self._blocks += 1
        busy = sum(not _is_done(one) for one in before)
        if isinstance(block, Part) or self._blocks <= _ALONE or not self._workers or busy > self._workers:
            return _here(block)
        return self._given(block) or _here(block)

    def _given(self, block: Block) -> Future[_Packed] | None:
        try:
            self._pool = self._pool or ProcessPoolExecutor(self._workers, get_context("spawn"), initializer=_prepare)
            return self._pool.submit(_packed, block)
        except (BrokenProcessPool, OSError, ImportError, NotImplementedError):
            # One died; or there are no semaphores, for want of /dev/shm in a jail, for example.
            self._workers = 0
            return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(block: Block | Part) -> Facts:
    part = part_of(block)
    return Facts([fact(span) for span in part.spans], part.wrong)


def _taken(block: Block | Part, given: Future[_Packed] | Facts) -> Facts:
    if isinstance(given, Facts):
        return given
    try:
        rows, wrong = given.result()
    except BrokenProcessPool:
        return _here(block)
    return Facts(_unpacked(rows), wrong)


def _is_done(given: Future[_Packed] | Facts) -> bool:
    return isinstance(given, Facts) or given.done()


def _prepare() -> None:
    """Ctrl-C is the main process's, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _packed(block: Block) -> _Packed:
    """Facts as plain tuples, which marshal writes in a tenth of the time that pickle takes for named ones."""
    read = _here(block)
    ids: dict[str, str] = {}
    return marshal.dumps([_row(one, ids.setdefault(one.trace_id, one.trace_id)) for one in read.facts]), read.wrong


def _row(one: Fact, trace_id: str) -> _Row:
    return trace_id, one[1:3], _KINDS.index(one.kind), one[4:7], _LAYERS.index(one.layer), one[8:10], one[10:]


def _unpacked(rows: bytes) -> list[Fact]:
    return [_fact(row) for row in marshal.loads(rows)]  # noqa: S302 - what a process of ours wrote


def _fact(row: _Row) -> Fact:
    """Names become one string each again."""
    trace_id, ids, kind, names, layer, called, rest = row
    kept = sys.intern
    return Fact._make((trace_id, *ids, _KINDS[kind], *map(kept, names), _LAYERS[layer], *map(kept, called), *rest))
