"""The path of a call as its hops' records tell it, with the gaps that hops without records leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grpc_tracing.evidence.records import HopRecord


@dataclass(frozen=True)
class PathHop:
    """A place on the path; `hop` is None where it left no record."""

    service: str
    hop: HopRecord | None = None


def align(hops: Sequence[HopRecord], expected: Sequence[str]) -> tuple[PathHop, ...]:
    """The path with its gaps: the expected services, each with its record; the records alone where they do not fit."""
    if not fits([hop.service for hop in hops], expected):
        return tuple(PathHop(hop.service, hop) for hop in hops)
    rest = list(hops)
    return tuple(PathHop(name, rest.pop(0) if rest and rest[0].service == name else None) for name in expected)


def fits(path: Sequence[str], expected: Sequence[str]) -> bool:
    """True where `path` is `expected` with nothing but gaps."""
    rest = iter(expected)
    return all(name in rest for name in path)


def placed(stops: Sequence[PathHop]) -> list[tuple[int, HopRecord]]:
    """The records, each with its place on the path."""
    return [(place, stop.hop) for place, stop in enumerate(stops) if stop.hop]


def called_nobody(stop: PathHop) -> bool:
    return stop.hop is not None and not stop.hop.shortened and not stop.hop.later_us


def ends_the_path(stops: Sequence[PathHop], place: int) -> bool:
    """True for a hop that calls nobody: there, `forwarded` means no more than that it would."""
    return place + 1 == len(stops) or (called_nobody(stops[place]) and not any(stop.hop for stop in stops[place + 1 :]))
