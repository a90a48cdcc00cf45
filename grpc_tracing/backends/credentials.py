"""Headers that go with requests to a backend: they may be tokens, so nothing that was given stands in a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]+)")
VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Of OpenTelemetry's specification; the first one that is set counts."""
Headers = tuple[tuple[str, str], ...]


def header(text: str) -> tuple[str, str]:
    """`Name: value`, or `@FILE`, which holds that. ValueError says how to write one."""
    if text.startswith("@"):
        text = _read(Path(text[1:]))
    return _header(text)


def header_lines(file: Path) -> Headers:
    """Of a file with a header a line. ValueError says what is wrong with it."""
    return tuple(_header(line) for line in _read(file).splitlines() if line.strip())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise ValueError("the file behind @ cannot be read") from None


def _header(text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(text)
    if not match:
        raise ValueError("write it as 'Name: value', for example 'Authorization: Bearer …', or @FILE")
    return match[1], match[2]


def from_environment(environment: Mapping[str, str]) -> Headers:
    """`key=value,key=value` of the first of VARIABLES that is set, percent-encoded. ValueError names the variable."""
    name = next((one for one in VARIABLES if environment.get(one)), "")
    pairs = environment.get(name, "").split(",") if name else []
    try:
        return tuple(_pairs(pairs))
    except ValueError:
        raise ValueError(f"{name} is not written as key=value,key=value") from None


def _pairs(pairs: Iterable[str]) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        key, equals, value = pair.strip().partition("=")
        if not equals:
            raise ValueError(pair)
        yield _header(f"{key.strip()}: {unquote(value.strip())}")
