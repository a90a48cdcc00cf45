"""Where a trace's time went: what each span did itself, and the path of calls that its length comes from."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from grpc_tracing.spans.tree import Row

Stretch = tuple[int, int]
"""Begin and end, Unix ns."""


@dataclass(frozen=True, slots=True)
class Times:
    """By row: `own` is how long none of the span's children ran, ns; `critical` where it is on the critical path."""

    own: tuple[int, ...]
    critical: tuple[tuple[Stretch, ...], ...]


def times(rows: Sequence[Row], lasting: Sequence[Stretch]) -> Times:
    """`lasting` says by row from when to when it lasted, as it is to be drawn.

    The critical path of a piece leads back from the end of its top: what ended last is what was waited for, and before
    that what had ended when it began. So its stretches are as long as the top, and do not overlap.
    """
    children: defaultdict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.parent is not None:
            children[row.parent].append(index)
    own = tuple(_own(lasting[index], [lasting[child] for child in children[index]]) for index in range(len(rows)))
    critical: list[list[Stretch]] = [[] for _ in rows]
    todo = [(index, lasting[index][1]) for index, row in enumerate(rows) if row.parent is None]
    while todo:
        index, until = todo.pop()
        begun, last = lasting[index][0], until
        for child in sorted(children[index], key=lambda one: lasting[one][1], reverse=True):
            start, end = lasting[child]
            # One that went on after its caller had ended was waited for no longer than that.
            end = min(end, last)
            if begun <= start < end <= until:
                critical[index].append((end, until))
                todo.append((child, end))
                until = start
        critical[index].append((begun, until))
    return Times(own, tuple(tuple(sorted(one for one in found if one[0] < one[1])) for found in critical))


def _own(lasting: Stretch, children: list[Stretch]) -> int:
    begun, end = lasting
    own, at = max(0, end - begun), begun
    for start, stop in sorted(children):
        start, stop = max(start, at), min(stop, end)  # noqa: PLW2901 - within the span, and not counted yet
        if start < stop:
            own -= stop - start
            at = stop
    return own
