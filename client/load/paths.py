"""What the hop records of a load's calls add up to, for each path that they show.

Read at every call of a load, so each call costs a look-up and sums of whole numbers; names are made at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol


class Record(Protocol):
    """What a load reads of a hop's record; times in µs."""

    @property
    def service(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def here_us(self) -> int: ...
    @property
    def later_us(self) -> int: ...
    @property
    def shortened(self) -> bool: ...


@dataclass(slots=True)
class PathSums:
    """Calls along one path.

    `spent` is the time in µs of the `timed` calls: on the way to each hop and in it, in turn. `torn` counts, for each
    link, those of the `judged` calls whose trace did not go on there.
    """

    spent: list[int]
    torn: list[int]
    timed: int = 0
    judged: int = 0

    @classmethod
    def along(cls, services: Sequence[str]) -> PathSums:
        return cls(spent=[0] * (2 * len(services)), torn=[0] * (len(services) - 1))

    def time(self, hops: Sequence[Record], took: int) -> None:
        """Adds where a call's `took` µs went. A shortened record does not tell."""
        if any([hop.shortened for hop in hops]):  # noqa: C419 - a generator costs more than three hops
            return
        left, place = took, 0
        for hop in hops:
            here, later = hop.here_us, hop.later_us
            self.spent[place] += max(0, left - here - later)
            self.spent[place + 1] += here
            left, place = later, place + 2
        self.timed += 1

    def judge(self, hops: Sequence[Record]) -> None:
        """Counts a call's links. Nothing is shown where no trace came to the first hop.

        The ids as the records spell them are enough at this rate: `client call` reads the headers too.
        """
        ids = [hop.trace_id for hop in hops]
        if not ids[0]:
            return
        self.judged += 1
        if ids.count(ids[0]) < len(ids):
            for place, (here, later) in enumerate(pairwise(ids)):
                self.torn[place] += not here or here != later

    def add(self, other: PathSums) -> None:
        self.spent = [mine + theirs for mine, theirs in zip(self.spent, other.spent, strict=True)]
        self.torn = [mine + theirs for mine, theirs in zip(self.torn, other.torn, strict=True)]
        self.timed += other.timed
        self.judged += other.judged


def links(services: Sequence[str]) -> Iterator[str]:
    """The names of a path's links, such as `svc1 > svc2`."""
    return (f"{here} > {later}" for here, later in pairwise(services))


def stretches(services: Sequence[str]) -> Iterator[str]:
    """What `PathSums.spent` is the time of: on the way to each hop, and in it, in the order of the path."""
    for here, later in pairwise(("requester", *services)):
        yield f"{here} > {later}"
        yield later
