"""Spans in files, folders and standard input: by blocks of lines where a line holds an object, else as one text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from grpc_tracing.backends.files import documents
from grpc_tracing.spans.formats.documents import spans_of
from grpc_tracing.spans.formats.otlp import MalformedError
from grpc_tracing.spans.model import Span

LARGEST: Final = 128 * 1024**2
"""Bytes of one JSON document: it is held in memory several times over."""
_BLOCK: Final = 1024**2
"""Bytes of lines that are read at a time."""


class Block(NamedTuple):
    """Whole lines of a file that has an object a line: where they come from, the number of the first, their bytes."""

    name: str
    first: int
    lines: bytes


class Part(NamedTuple):
    """What was read of a block, or of a file: its spans, and what is wrong after them, if anything is."""

    spans: list[Span]
    wrong: str = ""


def files_of(path: Path) -> list[Path]:
    """The file, or those of a folder. Raises OSError; ValueError where a folder has none."""
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.is_file() and ".json" in one.name)
    if not found:
        raise ValueError(f"{path} holds no file with .json, .jsonl or .parquet in its name")
    return found


def split(stream: IO[bytes], name: str) -> Iterator[Block | Part]:
    """Blocks of lines, and parts of what is one text, for `part_of`. What is wrong ends it. Raises OSError."""
    try:
        number, first = _first(stream, name)
        if _is_json(first):
            yield from _blocks(number, first, stream, name)
        else:
            yield from (Part(spans) for spans in _whole(first + stream.read(LARGEST), name))
    except ValueError as error:
        yield Part([], str(error))


def part_of(block: Block | Part) -> Part:
    """The spans of a block, as far as it can be read; a part as it is."""
    if isinstance(block, Part):
        return block
    spans: list[Span] = []
    for number, line in enumerate(block.lines.split(b"\n"), block.first):
        if line.strip():
            try:
                spans += _spans(_object(line), f"{block.name}, line {number}")
            except MalformedError as error:
                return Part(spans, str(error))
            except (ValueError, RecursionError):
                return Part(spans, f"{block.name}, line {number}: the JSON is cut off, or none")
    return Part(spans)


def _first(stream: IO[bytes], name: str) -> tuple[int, bytes]:
    """The first line that holds anything, and its number."""
    for number, line in enumerate(iter(lambda: _line(stream, name), b""), 1):
        if line.strip():
            return number, line
    raise ValueError(f"{name} is empty: give a file of spans")


def _line(stream: IO[bytes], name: str) -> bytes:
    line = stream.readline(LARGEST)
    if len(line) >= LARGEST:
        raise _TooLongError(name)
    return line


class _TooLongError(ValueError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has a line of more than {LARGEST // 1024**2} MiB: write one object a line")


def _is_json(line: bytes) -> bool:
    try:
        _object(line)
    except (ValueError, RecursionError):
        return False
    return True


def _object(line: bytes) -> Any:
    return json.loads(line.decode("utf-8", "replace"))


def _blocks(number: int, first: bytes, stream: IO[bytes], name: str) -> Iterator[Block]:
    """What stands before a line that is too long is read still."""
    lines, rest = first + stream.read(_BLOCK), stream.readline(LARGEST)
    while lines:
        if len(rest) >= LARGEST:
            yield Block(name, number, lines[: lines.rfind(b"\n") + 1])
            raise _TooLongError(name)
        lines += rest
        yield Block(name, number, lines)
        number += lines.count(b"\n")
        lines, rest = stream.read(_BLOCK), stream.readline(LARGEST)


def _whole(body: bytes, name: str) -> Iterator[list[Span]]:
    if len(body) >= LARGEST:
        raise ValueError(f"{name} is one document of more than {LARGEST // 1024**2} MiB: write one object a line")
    try:
        for number, document in documents(body.decode("utf-8", "replace")):
            yield _spans(document, f"{name}, object {number}")
    except MalformedError:
        raise
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _spans(document: Any, where: str) -> list[Span]:
    try:
        return spans_of(document)
    except MalformedError as error:
        raise MalformedError(f"{where}: {error}") from None
