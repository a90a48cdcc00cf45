"""Spans in files, folders and standard input, read a line at a time where a line holds an object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from grpc_tracing.backends.files import documents
from grpc_tracing.spans.formats.documents import spans_of
from grpc_tracing.spans.formats.otlp import MalformedError
from grpc_tracing.spans.model import Span

LARGEST: Final = 128 * 1024**2
"""Bytes of one JSON document: it is held in memory several times over."""


def files_of(path: Path) -> list[Path]:
    """The file, or those of a folder. Raises OSError; ValueError where a folder has none."""
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.is_file() and ".json" in one.name)
    if not found:
        raise ValueError(f"{path} holds no file with .json, .jsonl or .parquet in its name")
    return found


def read(stream: IO[str], name: str) -> Iterator[list[Span]]:
    """The spans of each document. Raises OSError, and ValueError with a line that says where it is wrong."""
    first = _line(stream, name)
    if not first.strip():
        first = next((line for line in iter(lambda: _line(stream, name), "") if line.strip()), "")
    if not first:
        raise ValueError(f"{name} is empty: give a file of spans")
    if _is_json(first):
        yield from _lines(first, stream, name)
    else:
        yield from _whole(first + stream.read(LARGEST), name)


def _line(stream: IO[str], name: str) -> str:
    line = stream.readline(LARGEST)
    if len(line) >= LARGEST:
        raise ValueError(f"{name} has a line of more than {LARGEST // 1024**2} MiB: write one object a line")
    return line


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(first: str, stream: IO[str], name: str) -> Iterator[list[Span]]:
    number, line = 1, first
    while line:
        if line.strip():
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                raise ValueError(f"{name}, line {number}: the JSON is cut off, or none") from None
            yield _spans(document, f"{name}, line {number}")
        line, number = _line(stream, name), number + 1


def _whole(text: str, name: str) -> Iterator[list[Span]]:
    if len(text) >= LARGEST:
        raise ValueError(f"{name} is one document of more than {LARGEST // 1024**2} MiB: write one object a line")
    try:
        for number, document in documents(text):
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
