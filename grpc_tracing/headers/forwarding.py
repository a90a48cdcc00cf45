"""Which headers of an incoming call go on with the call that is made because of it.

Pure functions over metadata as gRPC delivers it: a sequence of (key, value) pairs in the order received, duplicates
kept, keys in lower case, values of ``-bin`` keys as bytes and all others as str. What is forwarded is copied raw, never
parsed and rebuilt: rebuilding B3 drops ``x-b3-parentspanid`` and turns an absent ``x-b3-sampled`` into 0.
"""

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Final, TypeAlias

from grpc_tracing.headers.families import DEFAULT_KEYS, FAMILIES, HOP_RECORD, STATUS_DETAILS, Pair, matches


class Decision(IntEnum):
    """What a hop does with a header that it received; the numbers are those of the hop record."""

    FORWARDED = 0
    SWITCHED_OFF = 1
    LEFT_OUT = 2
    UNLISTED = 3
    REFUSED = 4
    SUPERSEDED = 5
    REWRITTEN = 6


GOES_ON: Final = (Decision.FORWARDED, Decision.REWRITTEN)
"""In the one trace, at least."""
KEY_ONLY: Final = (Decision.REFUSED, Decision.UNLISTED)
"""Of these a record holds the key and no value."""

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
        HOP_RECORD,
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    )
)
_RESERVED_PREFIXES: Final = (":", "grpc-", "proxy-", "x-envoy-", "x-forwarded-")
_RETURNED: Final = frozenset((STATUS_DETAILS, HOP_RECORD))
_CREDENTIALS: Final = frozenset(("authorization", "cookie"))
_KEY: Final = re.compile(r"[0-9a-z_.-]+")


Received: TypeAlias = tuple[str, str | bytes, Decision]
"""One received header, key and value, and what this hop does with it."""


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
    known = _CREDENTIALS.union(DEFAULT_KEYS)
    expanded: list[str] = []
    for entry in entries:
        if entry not in FAMILIES and entry not in known and not re.search(r"[-*]", check_entry(entry)):
            raise ValueError(
                f"unknown family {entry!r}: known are {', '.join(FAMILIES)}; your own header goes into propagate_also"
            )
        expanded += FAMILIES[entry].keys if entry in FAMILIES else (check_entry(entry),)
    return tuple(dict.fromkeys(expanded))


@dataclass(frozen=True)
class Propagation:
    """A service's rule: the keys and prefixes (ending in ``*``) that it forwards, and whether it forwards at all."""

    listed: tuple[str, ...] = DEFAULT_KEYS
    enabled: bool = True

    def sort(self, metadata: Sequence[Pair]) -> list[Received]:
        """Decides on each received header, in order."""
        if not metadata:
            return []
        keys, values = zip(*metadata, strict=True)
        received: list[Received] = list(zip(keys, values, self._decide(keys), strict=True))
        if not _all_sendable(values):
            received = [(key, value, done if is_sendable(value) else Decision.REFUSED) for key, value, done in received]
        return received

    @cached_property
    def _decide(self) -> Callable[[tuple[str, ...]], tuple[Decision, ...]]:
        # Most calls have the keys of one before them. Bounded, because a caller chooses its keys.
        return lru_cache(maxsize=128)(self._by_keys)

    def _by_keys(self, keys: tuple[str, ...]) -> tuple[Decision, ...]:
        # Envoy up to 1.39 reads `b3` first and never rewrites it: beside fresh x-b3-* it would flatten the tree.
        if any(key.startswith("x-b3-") for key in keys):
            return tuple(Decision.SUPERSEDED if key == "b3" else self._by_rule(key) for key in keys)
        return tuple(self._by_rule(key) for key in keys)

    def _by_rule(self, key: str) -> Decision:
        if is_reserved(key) or (key in _CREDENTIALS and key not in self.listed):
            return Decision.REFUSED
        if matches(key, self.listed):
            return Decision.FORWARDED if self.enabled else Decision.SWITCHED_OFF
        return Decision.LEFT_OUT if matches(key, DEFAULT_KEYS) else Decision.UNLISTED


DEFAULT: Final = Propagation()
"""Every family of the table, and nothing else."""


def rule(propagate: Iterable[str] = ("default",), also: Iterable[str] = ()) -> Propagation:
    """The rule that a configuration spells: `propagate` is default, none or a list; `also` adds own keys and prefixes.

    ValueError names the entry that is refused.
    """
    entries = tuple(propagate)
    own = tuple(check_entry(entry) for entry in also)
    if not entries:
        raise ValueError("no entries; write default, none or a list")
    if entries == ("none",):
        return Propagation(enabled=False)
    listed = expand(FAMILIES if entries == ("default",) else entries)
    return Propagation(tuple(dict.fromkeys(listed + own)))


def is_sendable(value: str | bytes) -> bool:
    """False for a value that gRPC refuses to send on: a text value must be printable ASCII."""
    return isinstance(value, bytes) or (value.isascii() and value.isprintable())


def _all_sendable(values: Iterable[str | bytes]) -> bool:
    return is_sendable("".join([value for value in values if isinstance(value, str)]))


def onward(received: Iterable[Received]) -> tuple[Pair, ...]:
    """The metadata of the onward call: what is forwarded, unchanged and in the order received."""
    return tuple([(key, value) for key, value, decision in received if decision in GOES_ON])


def rewritten(received: Iterable[Received], keys: Container[str]) -> list[Received]:
    """The decisions of a service whose SDK writes `keys` anew on the onward call."""
    return [
        (key, value, Decision.REWRITTEN if decision is Decision.FORWARDED and key in keys else decision)
        for key, value, decision in received
    ]


def backward(metadata: Iterable[Pair]) -> tuple[Pair, ...]:
    """The metadata of a later hop's answer that goes back to the caller: all but what belongs to one hop.

    And but for values that gRPC would not send: with one of them the caller would get no answer at all.
    """
    return tuple(
        [(key, value) for key, value in metadata if (key in _RETURNED or not is_reserved(key)) and is_sendable(value)]
    )
