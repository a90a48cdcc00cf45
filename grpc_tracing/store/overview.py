"""A trace at a glance: all its bars as one small picture, and what each service had to do with it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from grpc_tracing.store.render import hue
from grpc_tracing.store.waterfall import Bar

# Lines of the small picture: more rows share them.
_LINES = 100


@dataclass(frozen=True, slots=True)
class Overview:
    """`lines` is its height in its own units; `paths` are what to draw for each class of colour, in SVG's words."""

    lines: int
    paths: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A service of the trace: its spans, how many failed, and the time in which none of their children ran, ns."""

    node: str
    spans: int
    errors: int
    own_ns: int
    share: float


def overview(bars: tuple[Bar, ...]) -> Overview:
    """Bars of one colour that touch each other on a line are one."""
    lines = min(_LINES, len(bars))
    drawn: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for index, bar in enumerate(bars):
        left = min(999, int(bar.left))
        drawn[hue(bar.node), index * lines // len(bars)].append((left, max(left + 1, int(bar.left + bar.width))))
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for (colour, line), found in drawn.items():
        paths[colour] += [f"M{begin} {line}h{end - begin}v.8h{begin - end}z" for begin, end in _joined(found)]
    return Overview(lines, tuple((colour, "".join(found)) for colour, found in paths.items()))


def _joined(found: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def members(bars: tuple[Bar, ...]) -> tuple[Member, ...]:
    """The one with the most time of its own first; shares are of all that time."""
    grouped: defaultdict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        grouped[bar.node].append(bar)
    own = {name: sum(bar.own_ns for bar in found) for name, found in grouped.items()}
    total = sum(own.values()) or 1
    return tuple(
        Member(name, len(grouped[name]), sum(bar.span.error for bar in grouped[name]), own[name], own[name] / total)
        for name in sorted(grouped, key=lambda one: -own[one])
    )
