"""From what the ledger holds to a word for each service."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grpc_tracing.audit import chance
from grpc_tracing.audit.chance import Held, Met
from grpc_tracing.audit.facts import Layer
from grpc_tracing.audit.ledger import CallsIn, Group, Ledger, Outs, Place
from grpc_tracing.audit.result import CUTTING, WORST, Audit, Instance, Needs, Problem, Route, Service, Word
from grpc_tracing.audit.sampling import Sampling, by_cuts

_FALSE: Final = 0.001
"""The false discovery rate over all services and RPCs."""
_RARE: Final = 1e-5
"""And each by itself is at least so rare."""
_FEWEST: Final = 5
_FEWEST_FOR_JOB: Final = 20
_ALL: Final = 0.8
"""From this share on, an RPC's calls out are cut, below it they are cut partly."""
_EXCLUDED: Final = 0.25
"""A share of calls that follow a call in: where the interval ends below it, the calls out are a job's."""
_WEAKEST: Final = 0.02
"""A share beyond chance that is smaller is a slow change of load rather than a cut."""
_Z_NEEDED: Final = 5.0


@dataclass(frozen=True)
class Tested:
    """A group with its test over all calls in, and over those of each RPC."""

    group: Group
    outs: Outs
    total: Met
    routes: Mapping[str, Met]
    entered: bool
    """Whether calls come into the service at all."""
    apart: int
    """Begun traces at instances that no call in is known of."""


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
    """The verdict on all services, worst first; `missing` says what could not be read, `sampling` what is stated."""
    tested = [_test(ledger, group, outs) for group, outs in ledger.outs.items()]
    found = _found(tested)
    sampling = sampling or by_cuts([met for mets in found for met in mets.values()])
    judged = [_judged(one, mets, sampling) for one, mets in zip(tested, found, strict=True)]
    by_service: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        by_service[one.tested.group.service].append(one)
    services = [_service(name, by_service.get(name, [])) for name in ledger.services]
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


def _test(ledger: Ledger, group: Group, outs: Outs) -> Tested:
    layer = _layer_of_calls_in(ledger, group)
    total, routes, apart = Met(), defaultdict[str, Met](Met), 0
    by_instance: dict[str, list[int]] = defaultdict(list)
    for (instance, _), moments in outs.moments.items():
        by_instance[instance].extend(moments)
    for instance, all_moments in by_instance.items():
        calls = ledger.calls_in.get(Place(group.service, layer, instance), {})
        apart += 0 if calls else len(all_moments)
        window = _window(calls.values(), all_moments)
        total += chance.meet(_all_of(calls.values()), all_moments, window)
        for route, one in calls.items() if len(calls) > 1 else ():
            routes[route] += chance.meet(chance.held(one.starts, one.ends), all_moments, window)
    entered = any(place.service == group.service for place in ledger.calls_in)
    return Tested(group, outs, total, dict(routes), entered, apart)


def _layer_of_calls_in(ledger: Ledger, group: Group) -> Layer:
    """The same tracer's where it has any, for each knows instances by names of its own."""
    layers = {place.layer for place in ledger.calls_in if place.service == group.service}
    return group.layer if group.layer in layers or not layers else next(iter(layers))


def _all_of(calls: Iterable[CallsIn]) -> Held:
    held = list(calls)
    return chance.held([at for one in held for at in one.starts], [at for one in held for at in one.ends])


def _window(calls: Iterable[CallsIn], moments: Sequence[int]) -> tuple[int, int]:
    held = list(calls)
    return (
        min([*moments, *(min(one.starts) for one in held)]),
        max([*moments, *(max(one.starts) for one in held)]),
    )


def _found(tested: Sequence[Tested]) -> list[dict[str, Met]]:
    """For each group the tests that stand over all of them; the one over all calls in is under the empty name."""
    tests = [(number, route, met) for number, one in enumerate(tested) for route, met in _tests(one)]
    stand = chance.significant([met.p for _, _, met in tests], _FALSE)
    found: list[dict[str, Met]] = [{} for _ in tested]
    for (number, route, met), one in zip(tests, stand, strict=True):
        if one and met.p <= _RARE and met.share >= _WEAKEST and met.moments >= _FEWEST:
            found[number][route] = met
    return found


def _tests(one: Tested) -> Iterable[tuple[str, Met]]:
    if one.total.moments:
        yield "", one.total
        yield from one.routes.items()


def _judged(one: Tested, found: Mapping[str, Met], sampling: Sampling | None) -> Judged:
    certain = one.outs.by_request_id.total()
    known = sampling.rate if sampling else 1.0
    share = max((met.share for met in found.values()), default=one.total.share)
    effect = min(1.0, max(0.0, share / known)) if one.total.moments else None
    if found or certain >= 2:
        cut = max(_cut(one.outs.begun, effect or 0.0, found, known), certain)
        routes = _routes(one, found, cut)
        words = {route.verdict for route in routes}
        return Judged(one, min(words, key=WORST.index), cut, effect, routes, None)
    word, needs = _not_cut(one, sampling)
    return Judged(one, word, 0, effect, _whole_routes(one), needs)


def _cut(begun: int, effect: float, found: Mapping[str, Met], known: float) -> int:
    """All that begin a trace where that lies in the interval, else their share."""
    reach = max((met.share + 2 * met.share_error for met in found.values()), default=0.0) / known
    return begun if reach >= 0.9 else round(begun * effect)


def _routes(one: Tested, found: Mapping[str, Met], cut: int) -> tuple[Route, ...]:
    shares = _shares(one, found)
    whole: dict[str, int] = defaultdict(int)
    for continued, times in one.outs.whole.items():
        whole[continued.route] += times
    if "" in shares:
        return (_route("", one.group.target, cut, one.outs.whole.total()),)
    every = sum(shares.values())
    names = sorted({*shares, *whole}, key=lambda name: -shares.get(name, 0.0))
    return tuple(
        _route(name, one.group.target, round(cut * shares.get(name, 0.0) / every), whole[name]) for name in names
    )


def _shares(one: Tested, found: Mapping[str, Met]) -> dict[str, float]:
    """How the cut calls are spread over RPCs: by request ids, by the tests, or unknown (the empty name)."""
    if named := {name: met.share for name, met in found.items() if name}:
        return named
    if one.outs.by_request_id:
        return {name: float(times) for name, times in one.outs.by_request_id.items()}
    return {"": 1.0}


def _route(name: str, target: str, cut: int, whole: int) -> Route:
    share = cut / (cut + whole) if cut else 0.0
    word = Word.WHOLE if not cut else Word.CUTS if share >= _ALL else Word.PARTLY
    return Route(name, target, cut + whole, cut, word)


def _whole_routes(one: Tested) -> tuple[Route, ...]:
    whole: dict[str, int] = defaultdict(int)
    for continued, times in one.outs.whole.items():
        whole[continued.route] += times
    return tuple(_route(name, one.group.target, 0, times) for name, times in whole.items())


def _not_cut(one: Tested, sampling: Sampling | None) -> tuple[Word, Needs | None]:
    """A job where a cut is excluded. At a low sampling a cut shows as little as a job, so it has to be known."""
    begun = one.outs.begun
    if not begun:
        return (Word.WHOLE, None) if one.outs.whole else (Word.CANNOT_TELL, None)
    if not one.entered:
        return Word.JOB, None
    excludes = max(0.0, one.total.share + 3 * one.total.share_error) / _EXCLUDED
    told = begun >= _FEWEST_FOR_JOB and not one.apart
    if sampling and told and excludes < sampling.least:
        return Word.JOB, None
    least = excludes if told and excludes < 1 and not sampling else None
    return Word.CANNOT_TELL, Needs(_needed(one, sampling.rate if sampling else 1.0), least)


def _needed(one: Tested, sampling: float) -> int:
    """How many more begun traces would show a cut of all of them, or exclude it."""
    begun = one.outs.begun
    error = one.total.share_error / sampling
    enough = math.ceil(begun * max((_Z_NEEDED * error) ** 2, (3 * error / _EXCLUDED) ** 2))
    return max(enough - begun, _FEWEST_FOR_JOB - begun, 1)


def _service(name: str, groups: Sequence[Judged]) -> Service:
    if not groups:
        return Service(name, Word.UNKNOWN)
    word = min((one.word for one in groups), key=WORST.index)
    deciding = [one for one in groups if one.word in CUTTING] if word in CUTTING else list(groups)
    worst = max(groups, key=lambda one: (-WORST.index(one.word), one.tested.total.z))
    layers = {one.tested.group.layer for one in deciding}
    counted = [one for one in groups if one.tested.group.layer in layers]
    cut, made = sum(one.cut for one in counted), sum(one.tested.outs.made for one in counted)
    routes = sorted(
        (route for one in counted for route in one.routes), key=lambda one: (WORST.index(one.verdict), -one.calls_out)
    )
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
        instances=tuple(_instances(counted)),
        examples=tuple(pair for one in deciding for pair in one.tested.outs.examples)[:3],
        needs=max((one.needs for one in groups if one.needs), default=None),
        causes=("SPA-004",) if word in CUTTING else (),
    )


def _where(word: Word, groups: Sequence[Judged]) -> str | None:
    """Between which spans it lies: within the process, or behind its SDK's span; None where only a sidecar saw it."""
    if word not in CUTTING:
        return None
    cutting = {one.tested.group.layer for one in groups if one.word in CUTTING}
    if Layer.SDK in cutting:
        return "inside"
    continued = any(one.tested.outs.whole for one in groups if one.tested.group.layer is Layer.SDK)
    return "out" if continued else None


def _instances(groups: Sequence[Judged]) -> Iterable[Instance]:
    made: dict[tuple[str, str], int] = defaultdict(int)
    cut: dict[tuple[str, str], int] = defaultdict(int)
    for one in groups:
        for continued, times in one.tested.outs.whole.items():
            made[continued.instance, continued.version] += times
        for place, moments in one.tested.outs.moments.items():
            made[place] += len(moments)
            cut[place] += len(moments) if one.word in CUTTING else 0
    ranked = sorted(made, key=lambda place: (-cut[place] / made[place], place))
    return (Instance(*place, made[place], cut[place]) for place in ranked)


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
