"""Spans from wherever they are, a batch at a time, with a line of progress on a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import IO, Any

from grpc_tracing.backends.documents import files_of, read
from grpc_tracing.backends.jaeger import StoreUnreadable
from grpc_tracing.backends.windows import Reading, choose
from grpc_tracing.backends.windows import read as read_window
from grpc_tracing.commands.options import Where
from grpc_tracing.printable import one_line
from grpc_tracing.spans.model import Span

Take = Callable[[list[Span]], None]
_STEP = 20_000


class NothingRead(Exception):  # noqa: N818 - reads as what it says
    """Nothing could be read; the message says why."""


def spans(where: Where, take: Take) -> list[str]:
    """Hands all spans to `take`; says what is missing. Raises NothingRead."""
    telling = _Telling(take)
    try:
        missing = asyncio.run(_backend(where, telling)) if where.source else _files(where, telling)
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


async def _backend(where: Where, take: Take) -> list[str]:
    reading = Reading()
    try:
        async with asyncio.timeout(where.wait):
            await _window(where, reading, take)
    except StoreUnreadable as error:
        reading.missing.append(str(error))
    except TimeoutError:
        late = f"{where.name} was not read to the end within {where.wait:g}s"
        reading.missing.append(f"{late}: give more --wait, or ask for less with --last")
    return reading.missing


async def _window(where: Where, reading: Reading, take: Take) -> None:
    if where.source is None:
        return
    api = await choose(where.source, where.api)
    sys.stderr.write(f"reading {api.name} at {one_line(where.name)}\n")
    async for batch in read_window(where.source, api, where.window, reading):
        take(batch)


def _files(where: Where, take: Take) -> list[str]:
    if where.path is None:
        return _stream(sys.stdin, "standard input", take)
    missing: list[str] = []
    for path in files_of(where.path):
        with path.open(encoding="utf-8", errors="replace") as stream:
            missing += _stream(stream, str(path), take)
    return missing


def _stream(stream: IO[str], name: str, take: Take) -> list[str]:
    """A file that is wrong somewhere is read up to there, and what follows is missing."""
    try:
        for batch in read(stream, name):
            take(batch)
    except ValueError as error:
        return [str(error)]
    return []


class _Telling:
    """Counts, and tells a terminal how far it is."""

    def __init__(self, take: Take) -> None:
        self.seen = 0
        self._take = take
        self._told = 0
        self._terminal = sys.stderr.isatty()

    def __call__(self, batch: list[Span]) -> Any:
        self.seen += len(batch)
        self._take(batch)
        if self._terminal and self.seen - self._told >= _STEP:
            self._told = self.seen
            sys.stderr.write(f"\r{self.seen:,} spans read")
            sys.stderr.flush()

    def end(self) -> None:
        if self._told:
            sys.stderr.write("\r\x1b[K")
