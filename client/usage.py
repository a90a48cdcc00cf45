"""What a user types, read into values; every mistake is one line that names the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from grpc_tracing import values
from grpc_tracing.backends.credentials import header as backend_header
from grpc_tracing.backends.files import read_spans
from grpc_tracing.backends.jaeger import Source, without_secrets
from grpc_tracing.calling import given, targets
from grpc_tracing.commands import files
from grpc_tracing.headers.families import Pair


class UsageError(Exception):
    """A command that cannot be run as typed; the message is one line and names the fix."""


def header(text: str) -> Pair:
    """`key: value` as gRPC metadata; the value of a `-bin` key is base64 and becomes bytes."""
    try:
        return given.header(text)
    except ValueError as error:
        raise UsageError(f"-H {error}") from None


def duration(option: str, text: str) -> float:
    """`500ms`, `5s`, `2m` or `1h`, in seconds, above 0."""
    try:
        return values.positive_duration(text.strip())
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def target(text: str) -> str:
    """`HOST:PORT`, or one of gRPC's own spellings such as `unix:/path` or `dns:///host:port`."""
    try:
        return targets.target(text)
    except ValueError as error:
        raise UsageError(f"--target: {error}") from None


def names(option: str, text: str) -> tuple[str, ...]:
    """A comma-separated list without empty items."""
    found = tuple(item.strip() for item in text.split(","))
    if not all(found):
        raise UsageError(f"{option} {text!r}: write names separated by commas, for example svc1,svc2,svc3")
    return found


def greeting_indices(text: str) -> tuple[int, ...]:
    """Comma-separated indices of greetings, 0 to 5."""
    items = [item.strip() for item in text.split(",")]
    if not all(item in {"0", "1", "2", "3", "4", "5"} for item in items):
        raise UsageError(f"--data {text!r}: write indices from 0 to 5 separated by commas, for example 0,1,2")
    return tuple(int(item) for item in items)


def count(option: str, text: str, highest: int) -> int:
    """A whole number from 1 to `highest`."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= highest:
        raise UsageError(f"{option} {text!r}: write a whole number from 1 to {highest}")
    return int(text)


def rate(text: str) -> float:
    """Calls a second, above 0."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text) or not float(text):
        raise UsageError(f"--rate {text!r}: write calls a second above 0, for example 50")
    return float(text)


def mix(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """RPCs with weights, `Talk=3,TalkBidirectional`, as the order in which to call them, spread evenly; `all`: each."""
    weights: dict[str, int] = {}
    for item in known if text == "all" else names("--rpc", text):
        rpc, _, weight = item.partition("=")
        if rpc not in known or not re.fullmatch(r"([1-9][0-9]?)?", weight) or rpc in weights:
            raise UsageError(f"--rpc {item!r}: write all, or each RPC once with a weight from 1 to 99 such as Talk=3")
        weights[rpc] = int(weight or 1)
    return tuple(_spread(weights))


def _spread(weights: dict[str, int]) -> Iterator[str]:
    """Each name as often as it weighs, none bunched together."""
    total, due = sum(weights.values()), dict.fromkeys(weights, 0)
    for _ in range(total):
        due = {name: value + weights[name] for name, value in due.items()}
        chosen = max(due, key=lambda name: due[name])
        due[chosen] -= total
        yield chosen


def url(option: str, text: str) -> str:
    """An http(s) URL, without a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text) or not _has_host(text):
        raise UsageError(f"{option} {without_secrets(text)!r}: write a URL such as http://127.0.0.1:16686")
    return text.rstrip("/")


def traces(text: str, headers: Sequence[tuple[str, str]], ca: str | None) -> Source:
    """A trace backend by its URL, or a file of spans."""
    if not re.match(r"[a-z]+://", text) and Path(text).exists():
        try:
            return Source(text, read_spans(Path(text)))
        except (OSError, ValueError) as error:
            raise UsageError(f"--traces {text}: {error}") from None
    if ca is not None:
        pem("--traces-ca", ca)
    return Source.at(url("--traces", text), tuple(headers), Path(ca) if ca else None)


def traces_header(text: str) -> tuple[str, str]:
    """`Name: value`, or `@FILE` that holds it: a value given so stands in no list of processes."""
    try:
        return backend_header(text)
    except ValueError as error:
        raise UsageError(f"--traces-header: {error}") from None


def keys(text: str) -> tuple[str, ...]:
    """Metadata keys separated by commas."""
    found = tuple(item.strip() for item in text.split(","))
    for key in found:
        if not given.KEY.fullmatch(key):
            raise UsageError(f"--require {text!r}: write header keys in lower case, for example x-lane,baggage")
    return found


def _has_host(text: str) -> bool:
    """False where no host can be read from a URL, or one that no name server could know, or a port that is none."""
    try:
        parts = urlsplit(text)
        httpx.URL(text)
        return bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False


def writable_file(option: str, text: str) -> Path:
    """A file that can be put in the place of `text`: nothing or a file is there, in a folder that takes another."""
    try:
        return files.writable(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None


def pem(option: str, path: str) -> bytes:
    """The bytes of a PEM file."""
    try:
        return given.pem(Path(path))
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None
