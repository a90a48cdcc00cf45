"""Answers of a real Jaeger 1 to the audit's requests, kept beside the spans that it was sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from grpc_tracing.spans.formats.documents import line
from grpc_tracing.spans.model import Span
from tests.backends.answers import Answer

KEPT: Final = Path(__file__).parent / "recorded" / "jaeger1.json.gz"


@dataclass(frozen=True)
class Held:
    """A file of the spans that were sent; status and body by what was asked, whatever window it was asked for."""

    spans: Path
    answers: Mapping[str, Answer]

    def answer(self, path: str) -> Answer:
        return self.answers.get(asked(path), (404, b"404 page not found\n"))


def asked(path: str) -> str:
    """The path, and the service that is asked for."""
    parts = urlsplit(path)
    service = parse_qs(parts.query).get("service")
    return f"{parts.path} {service[0]}" if service else parts.path


def read(folder: Path) -> Held:
    document = json.loads(gzip.decompress(KEPT.read_bytes()))
    file = folder / "sent.jsonl"
    file.write_text("".join(f"{one}\n" for one in document["sent"]))
    return Held(file, {key: (status, body.encode()) for key, (status, body) in document["answers"].items()})


def write(spans: Iterable[Span], answers: Mapping[str, tuple[int, str]]) -> None:
    document = {"sent": [line(span) for span in spans], "answers": answers}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))
