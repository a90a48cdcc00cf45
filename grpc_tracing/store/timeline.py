"""Wholeness by service and RPC over time: what the audit counts, spread over the moments at which it happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.result import CUTTING, Audit, Route, Service, Word

if TYPE_CHECKING:  # it brings numpy, which a page that shows no matrix need not load
    from grpc_tracing.audit.ledger import Entered, Ledger, Outs

MOMENTS: Final = 30
MOST_RPCS: Final = 12
MOST_SERVICES: Final = 100
_STEPS: Final = tuple(
    step * 10**9 for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
)


@dataclass(frozen=True, slots=True)
class Lost:
    """Calls out to one target that began traces of their own; `calls_out` are all to it."""

    out: str
    cut: int
    calls_out: int


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of the calls that one RPC of a service made; `whole` and `cut` are by moment.

    `since_ns` is when the first was cut, 0 where none was; `exact`: by a call's own time, else by its moment's begin.
    """

    verdict: Word
    calls_out: int
    lost: tuple[Lost, ...]
    whole: tuple[float, ...]
    cut: tuple[float, ...]
    since_ns: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Began:
    """A version that began while this was watched; `place` counts moments; `cuts`: cuts began with it."""

    version: str
    at_ns: int
    place: float
    cuts: bool


@dataclass(frozen=True, slots=True)
class Row:
    """`cells` are in the order of the matrix's RPCs, None where the service has no such call."""

    service: str
    cells: tuple[Cell | None, ...]
    versions: tuple[Began, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """`step_ns` is the length of a moment; `more` are RPCs that have no column."""

    rpcs: tuple[str, ...]
    rows: tuple[Row, ...]
    start_ns: int
    step_ns: int
    more: int


def matrix(ledger: Ledger, audit: Audit) -> Matrix:
    """Of an audit of this ledger."""
    first, last = audit.window
    step = next((one for one in _STEPS if (last - first) / one < MOMENTS), _STEPS[-1])
    start = first - first % step
    routes = [route for service in audit.services for route in service.routes]
    ranked, cutting = Counter(route.called for route in routes), {one.called for one in routes if one.cut}
    rpcs = tuple(sorted(ranked, key=lambda name: (name not in cutting, -ranked[name], name)))[:MOST_RPCS]
    axis = _Axis(ledger, start, step)
    rows = tuple(axis.row(service, rpcs) for service in audit.services if service.routes)[:MOST_SERVICES]
    return Matrix(rpcs, rows, start, step, len(ranked) - len(rpcs))


@dataclass(frozen=True)
class _Axis:
    ledger: Ledger
    start: int
    step: int

    def row(self, service: Service, rpcs: Sequence[str]) -> Row:
        by_rpc: defaultdict[str, list[Route]] = defaultdict(list)
        for route in service.routes:
            by_rpc[route.called].append(route)
        cells = tuple(self._cell(service, by_rpc[name]) if name in by_rpc else None for name in rpcs)
        return Row(service.service, cells, tuple(self._versions(service)))

    def _versions(self, service: Service) -> Iterator[Began]:
        seen = sorted(self.ledger.versions.get(service.service, {}).items(), key=lambda item: item[1])
        for version, at in seen[1:]:
            yield Began(version, at, (at - self.start) / self.step, version == service.since)

    def _cell(self, service: Service, routes: Sequence[Route]) -> Cell:
        whole, cut, firsts, exact = [0.0] * MOMENTS, [0.0] * MOMENTS, list[int](), True
        for route in routes:
            for place, count in self._went_on(service.service, route).items():
                whole[place] += count
            if route.verdict in CUTTING:
                times = self._cut(service, route)
                for place, share in times.items():
                    cut[place] += share
                known = self._first(service, route)
                exact = exact and known > 0
                firsts += [known or self._first_moment(times)]
        return Cell(
            verdict=_verdict(service, routes),
            calls_out=sum(route.calls_out for route in routes),
            lost=tuple(Lost(route.out, route.cut, route.calls_out) for route in routes if route.verdict in CUTTING),
            whole=tuple(whole),
            cut=tuple(cut),
            since_ns=min(firsts, default=0),
            exact=exact,
        )

    def _place(self, at: int) -> int:
        return min(MOMENTS - 1, max(0, (at - self.start) // self.step))

    def _entered(self, service: str, called: str) -> Iterator[Entered]:
        """As the sidecar saw them, where there is one: its spans go on where its SDK's do."""
        layers = {place.layer for place in self.ledger.calls_in if place.service == service}
        for place, routes in self.ledger.calls_in.items():
            if place.service == service and (place.layer is Layer.SIDECAR or Layer.SIDECAR not in layers):
                yield from (entered for name, entered in routes.items() if called in {"", name})

    def _went_on(self, service: str, route: Route) -> Counter[int]:
        """Calls in that go on to the target; into an SDK all go on that did not begin a trace."""
        return self._calls_in(service, route.called, [not route.out or route.out in one for one in self._onward])

    def _lacks(self, service: str, route: Route) -> Counter[int]:
        return self._calls_in(service, route.called, [route.out not in one for one in self._onward])

    @property
    def _onward(self) -> Sequence[frozenset[str]]:
        return self.ledger.onward.sets

    def _calls_in(self, service: str, called: str, fits: Sequence[bool]) -> Counter[int]:
        """By moment, those whose number of `goes_on` fits."""
        return Counter(
            self._place(at)
            for entered in self._entered(service, called)
            for at, number in zip(entered.starts, entered.goes_on, strict=True)
            if fits[number]
        )

    def _outs(self, service: str, out: str) -> Outs | None:
        """As the layer sees it that saw most of them."""
        held = [
            outs
            for group, outs in self.ledger.outs.items()
            if group.service == service and group.target == out and group.arrives == (not out)
        ]
        return max(held, key=lambda outs: outs.begun, default=None)

    def _begun(self, service: str, out: str) -> list[int]:
        outs = self._outs(service, out)
        return [at for times in outs.began.values() for at in times.starts] if outs else []

    def _cut(self, service: Service, route: Route) -> dict[int, float]:
        """Those that began a trace, moment by moment, as far as the audit counts them to this RPC."""
        begun = Counter(map(self._place, self._begun(service.service, route.out)))
        others = _cutting(service, route.out)
        lacking = {one.called: self._lacks(service.service, one) for one in others} if len(others) > 1 else {}
        times = {}
        for place, count in begun.items():
            every = sum(one[place] for one in lacking.values())
            times[place] = count * lacking[route.called][place] / every if every else count / len(others)
        total = sum(times.values())
        return {place: count * route.cut / total for place, count in times.items()} if total else {}

    def _first(self, service: Service, route: Route) -> int:
        """Where each begun trace is a call of this RPC that was cut, the first of them; else 0."""
        begun = self._begun(service.service, route.out)
        return min(begun, default=0) if len(_cutting(service, route.out)) == 1 and route.cut == len(begun) else 0

    def _first_moment(self, times: dict[int, float]) -> int:
        return self.start + self.step * min((place for place, count in times.items() if count >= 1), default=0)


def _verdict(service: Service, routes: Sequence[Route]) -> Word:
    """Not whole where calls out of the service began traces of which nothing tells what they are."""
    words = {route.verdict for route in routes}
    if service.verdict is Word.CANNOT_TELL and not words & CUTTING:
        return Word.CANNOT_TELL
    return next(word for word in Word if word in words)


def _cutting(service: Service, out: str) -> list[Route]:
    return [one for one in service.routes if one.out == out and one.verdict in CUTTING]


def bars(counts: Iterable[float], most: float, *, down: bool) -> str:
    """A path of bars, 4 wide and at most 10 high, up from the height 10 or down from 11."""
    found = []
    for place, count in enumerate(counts):
        if count > 0:
            height = max(1.0, round(10 * count / most, 1)) * (1 if down else -1)
            found.append(f"M{place * 4} {11 if down else 10}v{height}h3v{-height}z")
    return "".join(found)
