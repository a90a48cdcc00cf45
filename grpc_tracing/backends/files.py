"""Spans in a file: OTLP's JSON as Jaeger's v3 API gives it, one object or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Span


def read_spans(path: Path) -> tuple[Span, ...]:
    """All spans of a file. Raises OSError, and ValueError with a line that says where it is not what it should be."""
    spans: list[Span] = []
    for number, document in documents(path.read_text(encoding="utf-8", errors="replace")):
        try:
            spans += otlp.spans_of(otlp.from_document(otlp.find_spans(document)).resource_spans)
        except otlp.MalformedError as error:
            raise ValueError(f"object {number} holds no spans in OTLP's JSON: {error}") from None
    return tuple(spans)


def documents(text: str) -> Iterator[tuple[int, Any]]:
    """Each JSON object of a text with its number. Raises ValueError with the line where one is cut off."""
    decoder = json.JSONDecoder()
    at, number = _skip(text, 0), 0
    while at < len(text):
        number += 1
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"the JSON object that begins in line {line} is cut off, or none") from None
        yield number, document
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
