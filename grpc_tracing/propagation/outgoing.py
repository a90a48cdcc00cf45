"""The headers of a call that this process makes: what it received, and what its maker or an SDK says instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from grpc_tracing.calling.metadata import RepeatedKey
from grpc_tracing.headers.families import LISTS, Metadata, Pair
from grpc_tracing.headers.forwarding import DEFAULT, Propagation, onward
from grpc_tracing.propagation.received import current
from grpc_tracing.propagation.sdk import with_family, written


class Incoming(Protocol):
    """What `headers_of` needs of a servicer context, in either of gRPC's APIs."""

    def invocation_metadata(self) -> Any: ...


def headers_of(context: Incoming, rule: Propagation = DEFAULT) -> Metadata:
    """The `metadata=` of a call that is made because of the one that `context` belongs to."""
    return _combined((), onward(rule.sort(context.invocation_metadata() or ())))


def outgoing(given: Iterable[Pair] = (), rule: Propagation = DEFAULT) -> Metadata:
    """The headers of a call that is made here; `given`, what the call says itself, replaces received headers.

    Outside a call, and after its end, they are the given ones and no others.
    """
    received, said = current(), tuple(given)
    kept = received.onward(rule) if received else ()
    return _combined(said, kept) if kept else said


def _combined(given: Metadata, kept: Metadata) -> Metadata:
    own = written()
    if own is None:
        return (*given, *_beside({key for key, _ in given}, given, kept)) if given else kept
    said = {key for key, _ in own.pairs}
    replaced = tuple(pair for pair in given if pair[0] not in said) + own.pairs
    return tuple(_distinct((*replaced, *_beside({key for key, _ in given} | own.keys, replaced, kept))))


def _beside(taken: set[str], said: Metadata, kept: Metadata) -> Iterator[Pair]:
    """What was received and still goes on beside what is said in its stead."""
    taken_too = with_family(taken)
    yield from (pair for pair in kept if pair[0] not in taken_too)
    for name in LISTS:
        if name in taken_too:
            yield from _unread(name, said, kept)


def _unread(name: str, said: Metadata, kept: Metadata) -> Iterator[Pair]:
    """A tracer reads the last header of a list and writes it on; those before it are still to be said."""
    *earlier, last = [value for key, value in kept if key == name] or [""]
    if any(key == name and isinstance(value, str) and str(last) in value for key, value in said):
        yield from ((name, value) for value in earlier if (name, value) not in said)


def _distinct(pairs: Metadata) -> Iterator[Pair]:
    """OpenTelemetry's interceptors make a dict of the metadata: a further value of a key stays beside the first."""
    seen: set[str] = set()
    for key, value in pairs:
        yield (RepeatedKey(key) if key in seen else key, value)
        seen.add(key)
