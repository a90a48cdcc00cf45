"""From what the ledger holds to a word for each service."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from grpc_tracing.audit import chance
from grpc_tracing.audit.canonical import put_in_order
from grpc_tracing.audit.chance import ALL, Calls, Key, Met, Trial
from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.ledger import Entered, Group, Ledger, Outs, Place, Times
from grpc_tracing.audit.result import CUTTING, WORST, Audit, Instance, Needs, Problem, Route, Service, Word
from grpc_tracing.audit.sampling import Sampling, by_beats, by_cuts, by_gaps

_FALSE: Final = 0.001
"""The false discovery rate over all services and RPCs."""
_RARE: Final = 1e-4
"""And each by itself is at least so rare."""
_SUPPORTED: Final = 0.01
"""Or so rare, where an instance continues none of the calls in that its fellows do."""
_DUE: Final = 20
"""Calls out that an instance would continue if it did as its fellows do: from so many on, none is no accident."""
_LIKELY: Final = 0.001
"""So rare is what speaks for an RPC beside another one that is found."""
_FEWEST: Final = 3
_FEWEST_FOR_JOB: Final = 20
_ALL: Final = 0.8
"""From this share on, an RPC's calls out are cut, below it they are cut partly."""
_GOES_ON: Final = 0.9
"""An RPC of whose calls in so many are continued is not the one that cuts, where another one may be."""
_EXCLUDED: Final = 0.25
"""A share of calls that follow a call in: where the interval ends below it, the calls out are a job's,"""
_HIDDEN: Final = 0.1
"""if those that may be hidden among them are so few of the calls in too."""
_WEAKEST: Final = 0.02
"""A share beyond chance that is smaller is a slow change of load rather than a cut."""
_Z_NEEDED: Final = 5.0
_MOST_ROUTES: Final = 20
"""RPCs of a service that are tested each by itself: those called most."""
_SOME, _NEXT_TO_NONE = 0.05, 0.01
"""Shares of a version's calls out: with the one it cuts, with the other it does not."""
_EVERY: Final = ""
"""In place of the name of a target or an RPC: all of them."""


class Scope(NamedTuple):
    """What one test is of: calls out to a target, against calls in of an RPC; either may be all."""

    target: str
    route: str


@dataclass(frozen=True)
class Unit:
    """A service as one layer sees its calls out: its groups, and the tests over its instances."""

    groups: Mapping[Group, Outs]
    trials: Mapping[Scope, Trial]
    entered: int
    """Calls that come in where calls out begin traces."""
    reached: bool
    """Whether calls come into the service at all, traced or not."""
    apart: Counter[Group]
    """Begun traces that nothing could be held against."""
    taken: Mapping[str, int]
    """Calls in by RPC, over all instances."""
    silent: frozenset[str]
    """The targets of which some instance begins traces alone, where its fellows continue the same calls in."""

    @property
    def passes_ids(self) -> bool:
        return any(outs.by_request_id for outs in self.groups.values())


@dataclass(frozen=True)
class Tested:
    """A group with its tests by RPC, those over all RPCs under the empty name; and which of them stand."""

    group: Group
    outs: Outs
    unit: Unit
    trials: Mapping[str, Trial]
    found: Mapping[str, Trial]

    @property
    def total(self) -> Trial:
        return self.trials.get(_EVERY, Trial())


@dataclass(frozen=True)
class Judged:
    """A group, and what it is."""

    tested: Tested
    word: Word
    cut: int
    effect: float | None
    routes: tuple[Route, ...]
    needs: Needs | None


def judge(ledger: Ledger, missing: Sequence[str] = (), sampling: Sampling | None = None) -> Audit:
    """The verdict on all services, worst first; `missing` says what could not be read, `sampling` what is stated.

    The same for the same spans, in whatever order they came and whoever filled the ledger, which it puts in order.
    """
    put_in_order(ledger)
    units = list(_units(ledger))
    found = _found(units)
    sampling = sampling or _sampling(units, found)
    judged = [
        _judged(one, sampling) for unit, stands in zip(units, found, strict=True) for one in _tested(unit, stands)
    ]
    by_service: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.word in CUTTING or not one.tested.group.arrives:
            by_service[one.tested.group.service].append(one)
    services = [_service(name, by_service.get(name, []), ledger.versions[name]) for name in ledger.services]
    services.sort(key=lambda one: (WORST.index(one.verdict), -one.cut, one.service))
    return Audit(
        spans=ledger.spans,
        traces=ledger.traces,
        window=(ledger.first, ledger.last),
        sampling=sampling,
        services=tuple(services),
        problems=tuple(_problems(ledger)),
        missing=tuple(missing),
    )


def _sampling(units: Sequence[Unit], found: Sequence[Mapping[Scope, Trial]]) -> Sampling | None:
    """By cuts, unless the request id goes on: where it carries Envoy's decision, both halves are there or none is."""
    cutting = [trials for unit, trials in zip(units, found, strict=True) if trials and not unit.passes_ids]
    begun = [times.starts for unit in units for outs in unit.groups.values() for times in outs.began.values()]
    return by_cuts([_plainest(trials) for trials in cutting]) or by_beats(begun) or by_gaps(begun)


def _plainest(found: Mapping[Scope, Trial]) -> Met:
    return max(found.values(), key=lambda trial: trial.z).within


def _units(ledger: Ledger) -> Iterable[Unit]:
    places: dict[tuple[str, Layer], list[str]] = defaultdict(list)
    for place in ledger.calls_in:
        places[place.service, place.layer].append(place.instance)
    groups: dict[tuple[str, Layer, bool], dict[Group, Outs]] = defaultdict(dict)
    for group, outs in ledger.outs.items():
        groups[group.service, group.layer, group.arrives][group] = outs
    for (service, layer, arrives), held in groups.items():
        layers = [one for one in Layer if (service, one) in places]
        if not arrives:
            same = layer in layers or not layers
            yield _unit(ledger, service, layer if same else layers[0], held, places)
        elif Layer.SIDECAR in layers:
            yield _unit(ledger, service, Layer.SIDECAR, held, places)


def _unit(
    ledger: Ledger,
    service: str,
    layer: Layer,
    groups: Mapping[Group, Outs],
    places: Mapping[tuple[str, Layer], Sequence[str]],
) -> Unit:
    """Each tracer knows instances by names of its own: a layer's calls out are held against its own calls in."""
    into = {one: ledger.calls_in[Place(service, layer, one)] for one in places.get((service, layer), ())}
    counts = Counter[str]()
    for routes in into.values():
        counts.update({name: len(times.starts) for name, times in routes.items()})
    names = [name for name, _ in counts.most_common(_MOST_ROUTES)]
    goes_on = np.array([[group.target in onward for group in groups] for onward in ledger.onward.sets], bool)
    trials, apart, entered = defaultdict[Scope, Trial](Trial), Counter[Group](), 0
    for instance in sorted({instance for outs in groups.values() for instance, _ in outs.began}):
        routes = into.get(instance, {})
        met = chance.meet(_calls_in(routes, names), _calls_out(groups, instance), len(groups), len(names) + 1, goes_on)
        entered += sum(len(times.starts) for times in routes.values())
        for key, trial in met.items():
            if key.route < len(names):
                trials[_scope(key, list(groups), names)] += trial
        if not met:
            apart.update({group: _begun_by_instance(outs)[instance] for group, outs in groups.items()})
    reached = bool(into) or any((service, one) in places for one in Layer) or bool(_callers(ledger, service))
    silent = frozenset(group.target for group, outs in groups.items() if _is_silent(outs, into))
    return Unit(groups, trials, entered, reached, apart, counts, silent)


def _is_silent(outs: Outs, into: Mapping[str, Mapping[str, Times]]) -> bool:
    """Whether an instance that begins traces continues next to none of the calls in that its fellows continue."""
    whole: Counter[tuple[str, str]] = Counter()
    for continued, times in outs.whole.items():
        whole[continued.instance, continued.route] += times
    continuing = Counter[str]()
    for (_, route), times in whole.items():
        continuing[route] += times
    entered = Counter(
        {route: sum(len(one[route].starts) for one in into.values() if route in one) for route in continuing}
    )
    for instance, begun in _begun_by_instance(outs).items():
        own = {route: len(times.starts) for route, times in into.get(instance, {}).items() if route in continuing}
        due = sum(
            taken * min(1.0, (continuing[route] - whole[instance, route]) / max(1, entered[route] - taken))
            for route, taken in own.items()
        )
        if begun >= _FEWEST and due >= _DUE and sum(whole[instance, route] for route in own) <= 0.05 * due:
            return True
    return False


def _begun_by_instance(outs: Outs) -> Counter[str]:
    begun = Counter[str]()
    for (instance, _), times in outs.began.items():
        begun[instance] += len(times.starts)
    return begun


def _callers(ledger: Ledger, service: str) -> set[str]:
    """Who else makes calls to it: Istio's name has its namespace behind a dot, a target need not."""
    short = service.partition(".")[0]
    return (ledger.called.get(service, set()) | ledger.called.get(short, set())) - {service}


def _scope(key: Key, groups: Sequence[Group], names: Sequence[str]) -> Scope:
    target = _EVERY if key.target == ALL else groups[key.target].target
    return Scope(target, _EVERY if key.route == ALL else names[key.route])


def _calls_in(routes: Mapping[str, Entered], names: Sequence[str]) -> Calls:
    numbers = {name: number for number, name in enumerate(names)}
    rows = array("H")
    for times in routes.values():
        rows.extend(times.goes_on)
    return _joined([(times, numbers.get(name, len(names))) for name, times in routes.items()], rows)


def _calls_out(groups: Mapping[Group, Outs], instance: str) -> Calls:
    return _joined(
        [
            (times, number)
            for number, outs in enumerate(groups.values())
            for (at, _), times in outs.began.items()
            if at == instance
        ]
    )


def _joined(held: Sequence[tuple[Times, int]], rows: Sequence[int] | None = None) -> Calls:
    starts, ends, numbers = array("q"), array("q"), array("q")
    for times, number in held:
        starts.extend(times.starts)
        ends.extend(times.ends)
        numbers.extend([number] * len(times.starts))
    return chance.calls(starts, ends, numbers, rows)


def _found(units: Sequence[Unit]) -> list[dict[Scope, Trial]]:
    """For each unit the tests that stand over all of them."""
    tests = [(number, scope, trial) for number, unit in enumerate(units) for scope, trial in _tests(unit)]
    chances = [trial.p for _, _, trial in tests]
    found: list[dict[Scope, Trial]] = [{} for _ in units]
    for (number, scope, trial), p, stands in zip(tests, chances, chance.significant(chances, _FALSE), strict=True):
        supported = p <= _SUPPORTED and scope.route == _EVERY and scope.target in units[number].silent
        rare = supported or (stands and p <= _RARE)
        if rare and trial.best.share >= _WEAKEST and trial.moments >= _FEWEST:
            found[number][scope] = trial
    return found


def _tests(unit: Unit) -> Iterable[tuple[Scope, Trial]]:
    """Over all calls out and in first; then by target and by RPC, where there are several."""
    targets, routes = ({scope[part] for scope in unit.trials} - {_EVERY} for part in (0, 1))
    for scope, trial in unit.trials.items():
        apart = (scope.target != _EVERY or len(targets) != 1) and (scope.route == _EVERY or len(routes) > 1)
        if apart or scope == (_EVERY, _EVERY):
            yield scope, trial


def _tested(unit: Unit, found: Mapping[Scope, Trial]) -> Iterable[Tested]:
    """What stands over all targets stands for those that may have part in it."""
    for group, outs in unit.groups.items():
        trials = {scope.route: trial for scope, trial in unit.trials.items() if scope.target == group.target}
        own = {scope.route: trial for scope, trial in found.items() if scope.target == group.target}
        shared = {scope.route: trial for scope, trial in found.items() if scope.target == _EVERY}
        if not own and outs.begun:
            alone = len(unit.groups) == 1
            own = {
                route: trials[route]
                for route, trial in shared.items()
                if route in trials and (alone or _has_part(trials[route], trial))
            }
        yield Tested(group, outs, unit, trials, own)


def _has_part(own: Trial, shared: Trial) -> bool:
    met = own.within
    return met.share > 0 and met.share + 2 * met.share_error >= 0.5 * shared.within.share


def _judged(one: Tested, sampling: Sampling | None) -> Judged:
    certain = one.outs.by_request_id.total()
    known = sampling.rate if sampling else 1.0
    share = max((trial.best.share for trial in one.found.values()), default=one.total.best.share)
    effect = min(1.0, max(0.0, share / known)) if one.total.moments else None
    if one.found or certain >= 2:
        cut = max(_cut(one, effect or 0.0, known), certain)
        routes = _routes(one, cut)
        words = {route.verdict for route in routes}
        return Judged(one, min(words, key=WORST.index), cut, effect, routes, None)
    word, needs = _not_cut(one, sampling)
    return Judged(one, word, 0, effect, _whole_routes(one), needs)


def _cut(one: Tested, effect: float, known: float) -> int:
    """All that begin a trace where that lies in the interval, else their share."""
    bests = [trial.best for trial in one.found.values()]
    reach = max((best.share + 2 * best.share_error for best in bests), default=0.0) / known
    return one.outs.begun if reach >= 0.9 else round(one.outs.begun * effect)


def _whole_by_route(one: Tested) -> Counter[str]:
    whole = Counter[str]()
    for continued, times in one.outs.whole.items():
        whole[continued.route] += times
    return whole


def _routes(one: Tested, cut: int) -> tuple[Route, ...]:
    whole = _whole_by_route(one)
    shares = _shares(one, whole)
    if _EVERY in shares:
        shares, whole = {_EVERY: 1.0}, Counter({_EVERY: whole.total()})
    every = sum(shares.values())
    partly = _by_instance([one.outs]) or _by_instance(one.unit.groups.values())
    names = sorted({*shares, *whole}, key=lambda name: (-shares.get(name, 0.0), name))
    cuts = {name: round(cut * shares.get(name, 0.0) / every) for name in names}
    routes = [_route(name, one.group.target, cuts[name], whole[name]) for name in names]
    return tuple(replace(route, verdict=Word.PARTLY) if partly and route.cut else route for route in routes)


def _shares(one: Tested, whole: Counter[str]) -> dict[str, float]:
    """How the cut calls are spread over RPCs: by request ids, by the tests, or unknown (the empty name)."""
    if one.outs.by_request_id:
        return {name: float(times) for name, times in one.outs.by_request_id.items()}
    beyond = {name: max(0.0, trial.best.seen - trial.best.mean) for name, trial in one.trials.items() if name}
    if named := {name: beyond[name] for name in one.found if name}:
        named |= {name: beyond[name] for name, trial in one.trials.items() if name and trial.p < _LIKELY}
        cutting = {name: amount for name, amount in named.items() if whole[name] < _GOES_ON * one.unit.taken[name]}
        named = cutting if any(cutting.values()) else named
        return named if any(named.values()) else {_EVERY: 1.0}
    silent = {name: amount for name, amount in beyond.items() if amount and not whole.get(name)}
    return silent if sum(silent.values()) > 0.5 * sum(beyond.values()) else {_EVERY: 1.0}


def _by_instance(held: Iterable[Outs]) -> bool:
    """Whether some instances begin traces where others go on."""
    outs = list(held)
    began = {instance for one in outs for instance, _ in one.began}
    whole = Counter[bool]()
    for one in outs:
        for continued, times in one.whole.items():
            whole[continued.instance in began] += times
    return whole[False] >= _FEWEST and whole[True] <= 0.1 * sum(one.begun for one in outs)


def _route(name: str, target: str, cut: int, whole: int) -> Route:
    share = cut / (cut + whole) if cut else 0.0
    word = Word.WHOLE if not cut else Word.CUTS if share >= _ALL else Word.PARTLY
    return Route(name, target, cut + whole, cut, word)


def _whole_routes(one: Tested) -> tuple[Route, ...]:
    return tuple(_route(name, one.group.target, 0, times) for name, times in _whole_by_route(one).items())


def _not_cut(one: Tested, sampling: Sampling | None) -> tuple[Word, Needs | None]:
    """A job where a cut is excluded. At a low sampling a cut shows as little as a job, so it has to be known."""
    begun = one.outs.begun
    if not begun:
        return (Word.WHOLE, None) if one.outs.whole else (Word.CANNOT_TELL, None)
    if not one.unit.reached and begun >= _FEWEST_FOR_JOB:
        return Word.JOB, None
    told = begun >= _FEWEST_FOR_JOB and not one.unit.apart[one.group] and one.unit.entered > 0
    excludes = _excludes(one)
    if sampling and told and excludes < sampling.least:
        return Word.JOB, None
    if one.unit.reached and not one.unit.entered:
        return Word.CANNOT_TELL, None
    least = excludes if told and excludes < 1 and not sampling else None
    return Word.CANNOT_TELL, Needs(_needed(one, sampling.rate if sampling else 1.0), least)


def _excludes(one: Tested) -> float:
    """The sampling from which on a cut would have shown."""
    met = one.total.within
    most = max(0.0, met.share + 3 * met.share_error)
    return max(most / _EXCLUDED, most * one.outs.begun / (_HIDDEN * max(1, one.unit.entered)))


def _needed(one: Tested, sampling: float) -> int:
    """How many more begun traces would show a cut of all of them, or exclude it."""
    begun = one.outs.begun
    error = one.total.within.share_error / sampling
    hidden = error * begun / max(1, one.unit.entered)
    enough = math.ceil(begun * max(_Z_NEEDED * error, 3 * error / _EXCLUDED, 3 * hidden / _HIDDEN) ** 2)
    return max(enough - begun, _FEWEST_FOR_JOB - begun, 1)


def _service(name: str, groups: Sequence[Judged], versions: Mapping[str, int]) -> Service:
    if not groups:
        return Service(name, Word.UNKNOWN)
    word = min((one.word for one in groups), key=WORST.index)
    deciding = [one for one in groups if one.word in CUTTING] if word in CUTTING else list(groups)
    worst = max(groups, key=lambda one: (-WORST.index(one.word), one.tested.total.z))
    layer = max(one.tested.group.layer for one in deciding)
    counted = [one for one in groups if one.tested.group.layer is layer]
    cut, made = sum(one.cut for one in counted), sum(one.tested.outs.made for one in counted)
    routes = sorted(
        (route for one in counted for route in one.routes),
        key=lambda one: (WORST.index(one.verdict), -one.calls_out, one.called, one.out),
    )
    instances = tuple(_instances(counted))
    return Service(
        service=name,
        verdict=word,
        calls_out=made,
        begun=sum(one.tested.outs.begun for one in counted),
        cut=cut,
        interval=_interval(cut, made),
        by_request_id=sum(one.tested.outs.by_request_id.total() for one in counted),
        z=worst.tested.total.z if worst.tested.total.moments else None,
        effect=worst.effect,
        where=_where(word, groups),
        routes=tuple(routes),
        instances=instances,
        since=_since(instances, versions) if word in CUTTING else None,
        examples=tuple(pair for one in deciding for pair in one.tested.outs.examples)[:3],
        needs=max((one.needs for one in groups if one.needs), key=lambda one: one.calls, default=None),
        causes=("SPA-004",) if word in CUTTING else (),
    )


def _where(word: Word, groups: Sequence[Judged]) -> str | None:
    """Between which spans it lies: before, within or behind those of its SDK; None where only a sidecar saw it."""
    if word not in CUTTING:
        return None
    cutting = [one.tested.group for one in groups if one.word in CUTTING]
    if any(group.arrives for group in cutting):
        return "in"
    if any(group.layer is Layer.SDK for group in cutting):
        return "inside"
    continued = any(one.tested.outs.whole for one in groups if one.tested.group.layer is Layer.SDK)
    return "out" if continued else None


def _instances(groups: Sequence[Judged]) -> Iterable[Instance]:
    made: dict[tuple[str, str], int] = defaultdict(int)
    cut: dict[tuple[str, str], int] = defaultdict(int)
    for one in groups:
        for continued, times in one.tested.outs.whole.items():
            made[continued.instance, continued.version] += times
        for place, begun in one.tested.outs.began.items():
            made[place] += len(begun.starts)
            cut[place] += len(begun.starts) if one.word in CUTTING else 0
    ranked = sorted(made, key=lambda place: (-cut[place] / made[place], place))
    return (Instance(*place, made[place], cut[place]) for place in ranked)


def _since(instances: Iterable[Instance], first: Mapping[str, int]) -> str | None:
    """The version with which it began: this one and each later one cut, those before it do not. `first` is when each
    was first seen; a version that came between them and does neither leaves it open."""
    made, cut = Counter[str](), Counter[str]()
    for one in instances:
        made[one.version] += one.calls_out
        cut[one.version] += one.cut
    cutting = {name for name in made if cut[name] >= max(_FEWEST, _SOME * made[name])}
    going = {name for name in made if made[name] >= _FEWEST_FOR_JOB and cut[name] <= _NEXT_TO_NONE * made[name]}
    if not cutting or not going or made.keys() - first.keys():
        return None
    began = min(cutting, key=lambda name: (first[name], name))
    return began if max(first[name] for name in going) < first[began] else None


def _interval(count: int, total: int) -> tuple[float, float] | None:
    """Wilson's, 95 %."""
    if not total:
        return None
    share, z = count / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def _problems(ledger: Ledger) -> Iterable[Problem]:
    for name, spans in ledger.services.items():
        if (lost := ledger.orphans[name]) > max(2, 0.02 * spans):
            evidence = f"{lost} of {spans} spans name a parent that did not come (SPA-002)"
            yield Problem("missing-parent", name, evidence)
        if (skewed := ledger.skewed[name]) > max(5, 0.1 * ledger.spanned[name]):
            evidence = f"{skewed} of {ledger.spanned[name]} calls in begin outside the call out that made them"
            yield Problem("clock-skew", name, evidence)
