"""What mends a cut: the lines to add, by language, as the files of docs/examples have them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from grpc_tracing.spans.model import Attributes, Span

_SPELLED: Final = {"python": "Python", "java": "Java", "go": "Go", "nodejs": "Node.js"}
"""The languages of which there is a fix, as `telemetry.sdk.language` spells them and as people do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that mends it, as a file of docs/examples has it."""

    title: str
    file: str
    code: str


@dataclass(frozen=True, slots=True)
class Language:
    """`key` is fit for an id."""

    key: str
    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do, and the code by language: those that the service's spans name in front, which `known` spells."""

    says: str
    known: tuple[str, ...]
    languages: tuple[Language, ...]


def fix(where: str | None = None, languages: Sequence[str] = ()) -> Fix:
    """`where` the cut lies, in the audit's words; `languages` as `telemetry.sdk.language` spells them."""
    code = _code()
    ordered = dict.fromkeys([*(one for one in languages if one in code), *_SPELLED])
    named = tuple(_SPELLED.get(language, language) for language in languages)
    return Fix(_says(where), named, tuple(Language(one, _SPELLED[one], code[one]) for one in ordered))


def language_of(resource: Attributes) -> str:
    """What the service is written in, as its SDK says; Envoy names its own, C++."""
    facts = dict(resource)
    return "" if facts.get("telemetry.sdk.name") == "envoy" else facts.get("telemetry.sdk.language", "")


def languages_of(spans: Iterable[Span], service: str) -> tuple[str, ...]:
    """Those that the spans of this service name."""
    found = (language_of(span.resource) for span in spans if span.service == service)
    return tuple(dict.fromkeys(language for language in found if language))


def _says(where: str | None) -> str:
    match where:
        case "in":
            return (
                "Its SDK reads no parent from gRPC's metadata. Instrument the gRPC server, and set the SDK's "
                "propagator to what the sidecar writes: W3C's traceparent, or B3. Or pass the headers on by hand:"
            )
        case "inside":
            return (
                "Its SDK loses the context between the call in and the call out. Hand it on where work changes its "
                "thread or task: contextvars.copy_context().run in Python, Context.taskWrapping(executor) in Java, "
                "AsyncResource.bind in Node.js, the ctx of the call in Go. Or pass the headers on by hand:"
            )
        case _:
            return "Let each call out carry the trace headers of the call in because of which it is made:"


@cache
def _code() -> dict[str, tuple[Piece, ...]]:
    text = files("grpc_tracing.store").joinpath("fixes.json").read_text(encoding="utf-8")
    return {language: tuple(Piece(**one) for one in pieces) for language, pieces in json.loads(text).items()}
