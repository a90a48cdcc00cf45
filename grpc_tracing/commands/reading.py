"""Spans from wherever they are, a batch at a time, with a line of progress on a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import IO, Generic, NamedTuple, TypeVar

from grpc_tracing.audit.facts import Fact, fact
from grpc_tracing.backends.documents import Block, Part, files_of, part_of, split
from grpc_tracing.backends.jaeger import StoreUnreadable
from grpc_tracing.backends.windows import Reading, choose
from grpc_tracing.backends.windows import read as read_window
from grpc_tracing.commands.options import Where
from grpc_tracing.commands.workers import Parsers, no_cycles
from grpc_tracing.printable import one_line
from grpc_tracing.spans.model import Span

T = TypeVar("T")
_STEP = 20_000


class NothingRead(Exception):  # noqa: N818 - reads as what it says
    """Nothing could be read; the message says why."""


class _Way(NamedTuple, Generic[T]):
    """How spans become what is asked for: those of a file, and those that a backend answers with."""

    parts: Callable[[Iterable[Block | Part]], Generator[tuple[list[T], str]]]
    of: Callable[[list[Span]], list[T]]


def spans(where: Where, take: Callable[[list[Span]], None]) -> list[str]:
    """Hands all spans to `take`; says what is missing. Raises NothingRead."""
    return _read(where, take, _Way(_parts, lambda batch: batch))


def facts(where: Where, take: Callable[[list[Fact]], None]) -> list[str]:
    """The same for what the audit reads in the spans; large files are parsed by more than one core."""
    with Parsers() as parsers:
        return _read(where, take, _Way(parsers.facts_of, lambda batch: [fact(span) for span in batch]))


def _parts(split: Iterable[Block | Part]) -> Generator[Part]:
    return (part_of(one) for one in split)


def _read(where: Where, take: Callable[[list[T]], None], way: _Way[T]) -> list[str]:
    telling = _Telling(take)
    try:
        missing = asyncio.run(_backend(where, telling, way)) if where.source else _files(where, telling, way)
    except (StoreUnreadable, OSError, ValueError) as error:
        if not telling.seen:
            raise NothingRead(one_line(_said(error))) from None
        missing = [_said(error)]
    finally:
        telling.end()
    missing = [one_line(one) for one in missing]
    if not telling.seen:
        raise NothingRead(_none(where) if not missing else missing[0] + _more(len(missing) - 1))
    return missing


def _more(count: int) -> str:
    return f" (and {count:,} more such answers)" if count else ""


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)


def _none(where: Where) -> str:
    if where.source:
        return f"{where.name} has no spans in this window: ask for more with --last"
    return f"{where.name} holds no spans"


async def _backend(where: Where, telling: _Telling[T], way: _Way[T]) -> list[str]:
    reading = Reading()
    try:
        async with asyncio.timeout(where.wait):
            await _window(where, reading, lambda batch: telling(way.of(batch)))
    except StoreUnreadable as error:
        reading.missing.append(str(error))
    except TimeoutError:
        late = f"{where.name} was not read to the end within {where.wait:g}s"
        reading.missing.append(f"{late}: give more --wait, or ask for less with --last")
    return reading.missing


async def _window(where: Where, reading: Reading, take: Callable[[list[Span]], None]) -> None:
    if where.source is None:
        return
    api = await choose(where.source, where.api)
    sys.stderr.write(f"reading {api.name} at {one_line(where.name)}\n")
    async for batch in read_window(where.source, api, where.window, reading):
        take(batch)


def _files(where: Where, telling: _Telling[T], way: _Way[T]) -> list[str]:
    with no_cycles():
        if where.path is None:
            return _stream(sys.stdin.buffer, "standard input", telling, way)
        missing: list[str] = []
        for path in files_of(where.path):
            with path.open("rb") as stream:
                missing += _stream(stream, str(path), telling, way)
        return missing


def _stream(stream: IO[bytes], name: str, telling: _Telling[T], way: _Way[T]) -> list[str]:
    """A file that is wrong somewhere is read up to there, and what follows is missing."""
    with closing(way.parts(split(stream, name))) as parts:
        for batch, wrong in parts:
            telling(batch)
            if wrong:
                return [wrong]
    return []


class _Telling(Generic[T]):
    """Counts, and tells a terminal how far it is."""

    def __init__(self, take: Callable[[list[T]], None]) -> None:
        self.seen = 0
        self._take = take
        self._told = 0
        self._terminal = sys.stderr.isatty()

    def __call__(self, batch: list[T]) -> None:
        self.seen += len(batch)
        self._take(batch)
        if self._terminal and self.seen - self._told >= _STEP:
            self._told = self.seen
            sys.stderr.write(f"\r{self.seen:,} spans read")
            sys.stderr.flush()

    def end(self) -> None:
        if self._told:
            sys.stderr.write("\r\x1b[K")
