"""Metadata that leaves in the order given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property

from grpc.aio import Metadata

from grpc_tracing.headers.families import Pair


class OrderedMetadata(Metadata):
    """Metadata in the order given: the base class groups the values of one key.

    Client interceptors may change it, as auto-instrumentation does: what they `add` goes last. After any other change
    the base class's own store is what leaves, with the values of one key together.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs: Sequence[Pair] | None = pairs

    @cached_property
    def _metadata(self) -> OrderedDict[str, list[str | bytes]]:
        # The base class's store, for its look-ups by key: a call that nobody intercepts never needs it.
        grouped: OrderedDict[str, list[str | bytes]] = OrderedDict()
        for key, value in self._pairs or ():
            grouped.setdefault(key, []).append(value)
        return grouped

    def __iter__(self) -> Iterator[Pair]:
        return super().__iter__() if self._pairs is None else iter(self._pairs)

    def __len__(self) -> int:
        return super().__len__() if self._pairs is None else len(self._pairs)

    def add(self, key: str, value: str | bytes) -> None:
        """Appends a pair."""
        super().add(key, value)
        if self._pairs is not None:
            self._pairs = (*self._pairs, (key, value))

    def __setitem__(self, key: str, value: str | bytes) -> None:
        super().__setitem__(key, value)
        self._pairs = None

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._pairs = None

    def delete_all(self, key: str) -> None:
        """Takes every value of `key` away."""
        super().delete_all(key)
        self._pairs = None

    def set_all(self, key: str, values: list[str | bytes]) -> None:
        """Puts `values` in the place of all that `key` had."""
        super().set_all(key, values)
        self._pairs = None


class RepeatedKey(str):
    """The key of a further value, equal to itself alone: a dict of the metadata keeps it beside the first."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other
