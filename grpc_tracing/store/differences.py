"""Two traces beside each other: which spans both have, at the same place, and which only one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.names import operation
from grpc_tracing.spans.tree import Trace, node

MOST_ROWS: Final = 1000

_Key = tuple[str, str, Kind]


@dataclass(frozen=True, slots=True)
class Pair:
    """A place in the tree of calls, with the span that each trace has there."""

    depth: int
    node: str
    name: str
    first: Span | None
    second: Span | None


class _Tree:
    def __init__(self, trace: Trace) -> None:
        self.spans = trace.spans
        self.below: defaultdict[int | None, list[int]] = defaultdict(list)
        self.names = []
        for index, row in enumerate(trace.rows):
            self.below[row.parent].append(index)
            above = trace.rows[row.parent].span if row.parent is not None else None
            self.names.append(operation(row.span, above))

    def children(self, index: int | None) -> dict[tuple[_Key, int], int]:
        """By service, name and kind, and the how manieth of its kind it is."""
        found: dict[tuple[_Key, int], int] = {}
        seen: defaultdict[_Key, int] = defaultdict(int)
        for child in self.below[index]:
            key = (node(self.spans[child]), self.names[child], self.spans[child].kind)
            found[key, seen[key]] = child
            seen[key] += 1
        return found


def differences(first: Trace, second: Trace) -> tuple[tuple[Pair, ...], int]:
    """The first MOST_ROWS places, and how many more there are."""
    pairs = tuple(_pairs(_Tree(first), _Tree(second)))
    return pairs[:MOST_ROWS], max(0, len(pairs) - MOST_ROWS)


def compared(first: Trace, second: Trace) -> dict[str, object]:
    """The same, and what there is of it, counted over the places that are shown."""
    pairs, hidden = differences(first, second)
    both = sum(pair.first is not None and pair.second is not None for pair in pairs)
    alone = sum(pair.second is None for pair in pairs)
    return {
        "pairs": pairs,
        "hidden": hidden,
        "both": both,
        "only_first": alone,
        "only_second": len(pairs) - both - alone,
    }


def _pairs(first: _Tree, second: _Tree) -> Iterator[Pair]:
    stack: list[tuple[int, int | None, int | None]] = _below(first, second, 0, (None, None), top=True)
    while stack:
        depth, one, other = stack.pop()
        index, tree = (one, first) if one is not None else (other, second)
        assert index is not None  # noqa: S101 - one of them is there
        yield Pair(
            depth,
            node(tree.spans[index]),
            tree.names[index],
            None if one is None else first.spans[one],
            None if other is None else second.spans[other],
        )
        stack += _below(first, second, depth + 1, (one, other), top=False)


def _below(
    first: _Tree, second: _Tree, depth: int, at: tuple[int | None, int | None], *, top: bool
) -> list[tuple[int, int | None, int | None]]:
    """The places below, the last one first."""
    one = first.children(at[0]) if top or at[0] is not None else {}
    other = second.children(at[1]) if top or at[1] is not None else {}
    return [(depth, one.get(key), other.get(key)) for key in reversed(list(dict.fromkeys([*one, *other])))]
