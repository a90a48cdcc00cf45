"""Spans sent to a server of others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import httpx

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span

IN_FLIGHT: Final = 500
"""Spans of a request."""


def export(url: str, spans: Sequence[Span]) -> None:
    """By OTLP over HTTP."""
    with httpx.Client(timeout=60, trust_env=False) as http:
        for part in parts(spans):
            groups = [group for span in part for group in json.loads(line(span))["resourceSpans"]]
            body = otlp.parse_json(json.dumps({"resourceSpans": groups}).encode()).SerializeToString()
            answer = http.post(url, content=body, headers={"content-type": "application/x-protobuf"})
            assert answer.status_code == 200, answer.text


def parts(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    return (spans[at : at + IN_FLIGHT] for at in range(0, len(spans), IN_FLIGHT))
