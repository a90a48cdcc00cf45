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
from typing import Any, Final, NamedTuple

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


def facts_of(split: Iterable[Block | Part]) -> Generator[Facts]:
    """In the order of the blocks. Where no process can be started, or one dies, this one does its work."""
    blocks = iter(split)
    for number, block in enumerate(blocks):
        yield _here(block)
        if number + 1 >= _ALONE:
            break
    workers = min(_MOST, _cores() - 1)
    if workers > 0:
        yield from _beside(blocks, workers)
    else:
        yield from map(_here, blocks)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(block: Block | Part) -> Facts:
    part = part_of(block) if isinstance(block, Block) else block
    return Facts([fact(span) for span in part.spans], part.wrong)


def _beside(blocks: Iterator[Block | Part], workers: int) -> Iterator[Facts]:
    first = next(blocks, None)
    if first is None:
        return
    pool = _Pool(workers)
    try:
        yield from pool.facts_of(first, blocks)
    finally:
        pool.end()


class _Pool:
    """Gives blocks away as long as the workers have not enough of them, else does one itself."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[Block | Part, Future[_Packed] | Facts]] = deque()
        try:
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_prepare)
        except (OSError, ImportError, NotImplementedError):  # no semaphores: no /dev/shm in a jail, for example
            self._pool = None

    def facts_of(self, first: Block | Part, blocks: Iterator[Block | Part]) -> Iterator[Facts]:
        self._begin(first)
        for block in blocks:
            self._begin(block)
            while self._waiting and (_is_done(self._waiting[0][1]) or len(self._waiting) > self._workers * _AHEAD):
                yield self._taken()
        while self._waiting:
            yield self._taken()

    def end(self) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, block: Block | Part) -> None:
        given = self._given(block) if isinstance(block, Block) and self._has_room() else None
        self._waiting.append((block, given or _here(block)))

    def _has_room(self) -> bool:
        return sum(not _is_done(one) for _, one in self._waiting) < self._workers + 1

    def _given(self, block: Block) -> Future[_Packed] | None:
        try:
            return self._pool.submit(_packed, block) if self._pool else None
        except (BrokenProcessPool, OSError):
            self._pool = None
            return None

    def _taken(self) -> Facts:
        block, given = self._waiting.popleft()
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
