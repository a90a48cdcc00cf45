"""What the requester says of a call: its verdict, and the hop records, beside the spans.

`POST /api/calls` takes one JSON object, or a list of them:

    {"request_id": "…", "trace_ids": ["…32 hex…"], "rpc": "Talk", "verdict": "connected" | "broken" | "failed",
     "problems": ["…"], "hops": [{"service": "svc1", "record": "whole", "version": "v1", "instance": "…",
     "trace_id": "…", "status": 0, "here_ms": 1.2, "later_ms": 5.1,
     "headers": [{"key": "traceparent", "value": "…", "fate": "forwarded"}]}]}

Only `verdict` is required; what else stands in it is left alone. The answer is 202.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

VERDICTS = ("connected", "broken", "failed", "unproven")
# No call has as many; more is cut off, so that no call takes the memory of a thousand.
_MOST = 200
_LONGEST = 1024
# Calls in one body; the requester sends 50.
MOST_CALLS = 10_000
# Bytes of JSON that are read in a millisecond or two.
_SHORT = 64 * 1024
# What a call may take in memory: parsed, a record is some times larger than its JSON. Measured with tracemalloc.
_BLOWUP = 8


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a hop received, and the hop's decision in the words of its record: forwarded, left_out …

    `fate` is what the JSON calls it. A value of which only the first bytes or none are here has its `length` in bytes,
    and its SHA-256 or the first bytes of it in hex.
    """

    key: str
    value: str
    decision: str
    length: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """A hop's own record; times in milliseconds, as text."""

    service: str
    record: str
    version: str
    instance: str
    trace_id: str
    status: str
    here_ms: str
    later_ms: str
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as its requester saw it."""

    request_id: str
    trace_ids: tuple[str, ...]
    rpc: str
    verdict: str
    problems: tuple[str, ...]
    hops: tuple[Hop, ...]


async def read_calls(body: bytes) -> tuple[Call, ...]:
    """`parse_calls`, in a thread where it takes long, so that spans and pages need not wait. Raises ValueError."""
    return parse_calls(body) if len(body) <= _SHORT else await asyncio.to_thread(parse_calls, body)


def parse_calls(body: bytes) -> tuple[Call, ...]:
    """Raises ValueError with a line that names what is wrong."""
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    items = document if isinstance(document, list) else [document]
    if len(items) > MOST_CALLS:
        raise ValueError(f"{len(items):,} calls are too many at once; send at most {MOST_CALLS:,}")
    return tuple(parse_call(item) for item in items)


def parse_call(document: Any) -> Call:
    """Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError(f"a call is an object, not {type(document).__name__}")
    if document.get("verdict") not in VERDICTS:
        raise ValueError(f"verdict is one of {', '.join(VERDICTS)}")
    return Call(
        request_id=_text(document, "request_id"),
        trace_ids=tuple(dict.fromkeys(_trace_ids(document))),
        rpc=_text(document, "rpc"),
        verdict=document["verdict"],
        problems=tuple(_plain(item) for item in _items(document, "problems")),
        hops=tuple(_hop(item) for item in _items(document, "hops")),
    )


def _trace_ids(document: dict[str, Any]) -> Iterator[str]:
    """Those that are hex; B3's of 64 bits stand with zeros in front, as the store keeps them."""
    for item in _items(document, "trace_ids"):
        trace_id = str(item).lower()
        if re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", trace_id):
            yield trace_id.zfill(32)


def _hop(document: Any) -> Hop:
    if not isinstance(document, dict):
        raise ValueError("hops is a list of objects")
    names = ("service", "record", "version", "instance", "trace_id", "status", "here_ms", "later_ms")
    facts = {name: _text(document, name) for name in names}
    return Hop(**facts, headers=tuple(_header(item) for item in _items(document, "headers")))


def _header(document: Any) -> Header:
    if not isinstance(document, dict):
        raise ValueError("headers is a list of objects")
    length, digest = document.get("length"), _text(document, "sha256")
    return Header(
        _text(document, "key"),
        _text(document, "value"),
        _text(document, "fate"),
        length if isinstance(length, int) and length > 0 else 0,
        digest if re.fullmatch("([0-9a-f]{2})*", digest) else "",
    )


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return "" if value is None else _plain(value)


def _plain(value: object) -> str:
    # JSON may hold half a surrogate pair, which no page can be encoded with.
    return str(value)[:_LONGEST].encode(errors="replace").decode()


def _items(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} is a list")
    return value[:_MOST]


class CallLog:
    """The newest calls, within so many and so many bytes; not for threads."""

    def __init__(self, calls: int, size: int) -> None:
        self.limits = (calls, size)
        self.size = 0
        self.dropped = 0
        self.added = 0
        self._calls: deque[tuple[Call, int]] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        """The newest first."""
        return (call for call, _ in reversed(self._calls))

    def newest(self, count: int) -> tuple[Call, ...]:
        """So many at most, the newest first."""
        return tuple(islice(self, count))

    def add(self, calls: tuple[Call, ...], length: int) -> None:
        """`length` is that of the JSON they came in, which tells what they take."""
        for call in calls:
            size = 1024 + length * _BLOWUP // len(calls)
            self._calls.append((call, size))
            self.size += size
        self.added += len(calls)
        self._make_room()

    def _make_room(self) -> None:
        while len(self._calls) > self.limits[0] or self.size > self.limits[1]:
            self.size -= self._calls.popleft()[1]
            self.dropped += 1
