"""Which headers of an incoming call go on with the call that is made because of it.

Pure functions over metadata as gRPC delivers it: a sequence of (key, value) pairs in the order received, duplicates
kept, keys in lower case, values of ``-bin`` keys as bytes and all others as str. What is forwarded is copied raw, never
parsed and rebuilt: rebuilding B3 drops ``x-b3-parentspanid`` and turns an absent ``x-b3-sampled`` into 0.
"""

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final, TypeAlias

from grpc.aio import Metadata

from protos.hop_pb2 import FORWARDED, LEFT_OUT, REFUSED, SUPERSEDED, SWITCHED_OFF, UNLISTED, Fate

Pair = tuple[str, str | bytes]

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "w3c": ("traceparent", "tracestate", "baggage"),
    "b3": ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3"),
    "envoy": ("x-request-id", "x-client-trace-id", "x-ot-span-context"),
    "skywalking": ("sw8", "sw8-correlation", "sw8-x"),
    "datadog": (
        "x-datadog-trace-id",
        "x-datadog-parent-id",
        "x-datadog-sampling-priority",
        "x-datadog-origin",
        "x-datadog-tags",
    ),
    "clouds": ("x-cloud-trace-context", "x-amzn-trace-id"),
    "jaeger": ("uber-trace-id", "uberctx-*"),
    "lanes": ("x-asm-prefer-tag",),
}
"""The default list: keys, or prefixes ending in ``*``. `grpc-trace-bin` is missing because gRPC core takes it off."""

# Hop-by-hop by HTTP's rules (RFC 9110 7.6.1), or set anew by each hop's gRPC library or proxy.
_RESERVED: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "date",
        "host",
        "keep-alive",
        "server",
        "talk-hop-bin",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    )
)
_RESERVED_PREFIXES: Final = (":", "grpc-", "proxy-", "x-envoy-", "x-forwarded-")
RECORD: Final = "talk-hop-bin"
"""The trailer that holds a hop's record."""
DETAILS: Final = "grpc-status-details-bin"
"""The trailer in which gRPC's richer error model has a status once more, with its details."""
_RETURNED: Final = frozenset((DETAILS, RECORD))
_CREDENTIALS: Final = frozenset(("authorization", "cookie"))
_KEY: Final = re.compile(r"[0-9a-z_.-]+")


Received: TypeAlias = tuple[str, str | bytes, Fate]
"""One received header, key and value, and what becomes of it at this hop."""


class OrderedMetadata(Metadata):
    """Metadata that goes out in the order given: the base class groups the values of one key."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @cached_property
    def _metadata(self) -> OrderedDict[str, list[str | bytes]]:
        # The base class's own store, for its look-ups by key; a call asks for none.
        grouped: OrderedDict[str, list[str | bytes]] = OrderedDict()
        for key, value in self._pairs:
            grouped.setdefault(key, []).append(value)
        return grouped


def is_reserved(key: str) -> bool:
    """True for keys that never go on, in either direction, whatever the configuration says."""
    return key in _RESERVED or key.startswith(_RESERVED_PREFIXES)


def check_entry(entry: str) -> str:
    """Returns a key or prefix (``x-tenant-*``) that a configuration names; ValueError says why it cannot be one."""
    stem = entry.removesuffix("*")
    if entry != entry.lower():
        raise ValueError(f"{entry!r} has upper-case letters: metadata keys have none, write {entry.lower()!r}")
    if is_reserved(stem):
        raise ValueError(f"{entry!r} is reserved: it belongs to one hop and is never forwarded; take it off the list")
    if not _KEY.fullmatch(stem):
        raise ValueError(
            f"{entry!r} is no metadata key: use lower-case letters, digits, '-', '_', '.' and a '*' at the end"
        )
    return entry


def expand(entries: Iterable[str]) -> tuple[str, ...]:
    """Returns the keys and prefixes that a list of families, default keys, own keys and prefixes stands for.

    Raises ValueError for an unknown family and whatever `check_entry` refuses.
    """
    known = _CREDENTIALS.union(*FAMILIES.values())
    expanded: list[str] = []
    for entry in entries:
        if entry not in FAMILIES and entry not in known and not re.search(r"[-*]", check_entry(entry)):
            raise ValueError(
                f"unknown family {entry!r}: known are {', '.join(FAMILIES)}; your own header goes into propagate_also"
            )
        expanded += FAMILIES.get(entry) or (check_entry(entry),)
    return tuple(dict.fromkeys(expanded))


@dataclass(frozen=True)
class Propagation:
    """A service's rule: the keys and prefixes (ending in ``*``) that it forwards, and whether it forwards at all."""

    listed: tuple[str, ...] = field(default_factory=lambda: expand(FAMILIES))
    enabled: bool = True

    def sort(self, metadata: Sequence[Pair]) -> list[Received]:
        """Says of each received header, in order, what becomes of it."""
        fate = self._fate
        received = [(key, value, fate(key)) for key, value in metadata]
        # Envoy up to 1.39 reads `b3` first and never rewrites it: beside fresh x-b3-* it would flatten the tree.
        if "b3" in dict(metadata) and any(key.startswith("x-b3-") for key, _ in metadata):
            received = [(key, value, SUPERSEDED if key == "b3" else fate) for key, value, fate in received]
        if not _all_sendable(metadata):
            received = [(key, value, fate if is_sendable(value) else REFUSED) for key, value, fate in received]
        return received

    @cached_property
    def _fate(self) -> Callable[[str], Fate]:
        # Bounded, because a caller chooses its keys.
        return lru_cache(maxsize=1024)(self._decide)

    def _decide(self, key: str) -> Fate:
        if is_reserved(key) or (key in _CREDENTIALS and key not in self.listed):
            return REFUSED
        if _matches(key, self.listed):
            return FORWARDED if self.enabled else SWITCHED_OFF
        return LEFT_OUT if _matches(key, expand(FAMILIES)) else UNLISTED


def _matches(key: str, listed: Iterable[str]) -> bool:
    return any(key == entry or (entry[-1] == "*" and key.startswith(entry[:-1])) for entry in listed)


def is_sendable(value: str | bytes) -> bool:
    """False for a value that gRPC refuses to send on: a text value must be printable ASCII."""
    return isinstance(value, bytes) or (value.isascii() and value.isprintable())


def _all_sendable(metadata: Sequence[Pair]) -> bool:
    return is_sendable("".join([value for _, value in metadata if isinstance(value, str)]))


def onward(received: Iterable[Received]) -> OrderedMetadata:
    """The metadata of the onward call: what is forwarded, unchanged and in the order received."""
    return OrderedMetadata([(key, value) for key, value, fate in received if fate == FORWARDED])


def backward(metadata: Iterable[Pair]) -> tuple[Pair, ...]:
    """The metadata of a later hop's answer that goes back to the caller: all but what belongs to one hop.

    And but for values that gRPC would not send: with one of them the caller would get no answer at all.
    """
    return tuple(
        (key, value) for key, value in metadata if (key in _RETURNED or not is_reserved(key)) and is_sendable(value)
    )


def trace_id(metadata: Sequence[Pair]) -> str:
    """The trace id from the first trace family that came, as that family spells it; empty where none came whole."""
    values = dict(reversed(metadata))  # the first of several with one key
    for key, pattern in _TRACE_IDS:
        if (value := values.get(key)) and (found := pattern.match(str(value))):
            return _from_base64(found[1]) if key == "sw8" else found[1]
    return ""


_TRACE_IDS: Final = tuple(
    (key, re.compile(pattern))
    for key, pattern in (
        ("traceparent", r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"),
        ("x-b3-traceid", r"([0-9a-fA-F]{16,32})$"),
        ("b3", r"([0-9a-fA-F]{16,32})-"),
        ("sw8", r"[01]-([A-Za-z0-9+/=]{1,400})-"),
        ("x-datadog-trace-id", r"(\d{1,39})$"),
        ("uber-trace-id", r"([0-9a-fA-F]{1,32})(?::|%3A)"),
        ("x-cloud-trace-context", r"([0-9a-fA-F]{32})"),
        ("x-amzn-trace-id", r"(?:.*;)?Root=([0-9a-fA-F-]{1,64})"),
    )
)


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
