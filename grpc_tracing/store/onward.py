"""How the calls of a trace go on: what each service did with the calls that it got, as the audit reads spans."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from grpc_tracing.audit.facts import ENTRIES, Fact, Layer, fact, target_of
from grpc_tracing.audit.traces import Begins, CallOut, Trace
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.names import fold

Onward = tuple[Layer, str]
"""Who saw a call out, and whom it was for."""


class Entry(NamedTuple):
    """A call that came into a service, which is named as in pictures; times in Unix ns.

    `goes_on` says to whom how many calls of it went on.
    """

    service: str
    layer: Layer
    instance: str
    route: str
    start_ns: int
    end_ns: int
    goes_on: tuple[tuple[Onward, int], ...]

    def count(self, onward: Onward) -> int:
        return next((number for known, number in self.goes_on if known == onward), 0)


class Begun(NamedTuple):
    """A call out that began this trace, or a call in that an SDK began one with: then `target` is empty."""

    service: str
    layer: Layer
    instance: str
    target: str
    at_ns: int


class Out(NamedTuple):
    """Calls out of a service to one target; `answered`: some span stands below the caller's."""

    service: str
    onward: Onward
    answered: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one trace."""

    entries: tuple[Entry, ...]
    outs: tuple[Out, ...]
    begun: tuple[Begun, ...]


def calls_of(spans: Iterable[Span], left_out: Iterable[str] = ()) -> Calls:
    """`left_out` are ids of spans that say nothing: attempts after which a call was tried again."""
    facts = [_fact(span) for span in spans]
    calls = list(Trace(facts).calls_out())
    skipped = frozenset(left_out)
    return Calls(
        tuple(_entries(facts, calls, skipped)),
        tuple(dict.fromkeys(_outs(facts, calls, skipped))),
        tuple(dict.fromkeys(_begun(facts, calls))),
    )


def _fact(span: Span) -> Fact:
    one = fact(span)
    return one._replace(service=fold(one.service))


def _entries(facts: list[Fact], calls: list[CallOut], left_out: frozenset[str]) -> Iterator[Entry]:
    goes_on = _goes_on(facts, calls)
    for one in facts:
        if one.kind in ENTRIES and one.span_id not in left_out:
            found = tuple(sorted(goes_on.get(one.span_id, {}).items()))
            yield Entry(one.service, one.layer, one.instance, one.route, one.start, one.end, found)


def _outs(facts: list[Fact], calls: list[CallOut], left_out: frozenset[str]) -> Iterator[Out]:
    parents = {one.parent_id for one in facts}
    # In Zipkin the callee's span may share the caller's id.
    shared = {one.span_id for one in facts if one.kind in ENTRIES}
    for one in (call.fact for call in calls):
        if one.span_id not in left_out:
            yield Out(one.service, (one.layer, target_of(one)), one.span_id in parents or one.span_id in shared)


def _begun(facts: list[Fact], calls: list[CallOut]) -> Iterator[Begun]:
    for call in calls:
        if call.begins is Begins.ITSELF:
            one = call.fact
            yield Begun(one.service, one.layer, one.instance, target_of(one), call.began)
    for one in facts:
        if one.kind in ENTRIES and one.layer is Layer.SDK and not one.parent_id and not one.linked:
            yield Begun(one.service, one.layer, one.instance, "", one.start)


def _goes_on(facts: list[Fact], calls: list[CallOut]) -> Mapping[str, Counter[Onward]]:
    """By a call in's span id; what an SDK's call in goes on with, the sidecar's around it goes on with too."""
    entered = {one.span_id: one for one in facts if one.kind in ENTRIES}
    found: defaultdict[str, Counter[Onward]] = defaultdict(Counter)
    for call in calls:
        at, onward = call.cause, (call.fact.layer, target_of(call.fact))
        passed: set[str] = set()
        while at and at.kind in ENTRIES and at.service == call.fact.service and at.span_id not in passed:
            passed.add(at.span_id)
            found[at.span_id][onward] += 1
            at = entered.get(at.parent_id)
    for one in entered.values():
        above = entered.get(one.parent_id)
        if one.layer is Layer.SDK and above and above.service == one.service:
            found[above.span_id][Layer.SDK, ""] += 1
    return found
