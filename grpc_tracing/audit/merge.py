"""Ledgers of parts of the same traffic, put together: by time, or by instance."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from grpc_tracing.audit.ledger import Entered, Ledger, Onward, Outs, Times


def merged(parts: Iterable[Ledger]) -> Ledger:
    """A new one that holds what they hold; they stay as they are. A trace must not stand in two of them."""
    whole = Ledger()
    for part in parts:
        _count(whole, part)
        _enter(whole, part)
        for group, outs in part.outs.items():
            _leave(whole.outs[group], outs)
    return whole


def _count(whole: Ledger, part: Ledger) -> None:
    whole.spans += part.spans
    whole.traces += part.traces
    whole.first = min(whole.first or part.first, part.first or whole.first)
    whole.last = max(whole.last, part.last)
    for total, counts in (
        (whole.orphans, part.orphans),
        (whole.skewed, part.skewed),
        (whole.spanned, part.spanned),
        (whole.services, part.services),
    ):
        total.update(counts)
    for target, callers in part.called.items():
        whole.called.setdefault(target, set()).update(callers)
    for service, versions in part.versions.items():
        seen = whole.versions[service]
        for version, first in versions.items():
            seen[version] = min(first, seen.get(version, first))


def _enter(whole: Ledger, part: Ledger) -> None:
    numbers = _renumbered(whole.onward, part.onward)
    for place, routes in part.calls_in.items():
        into = whole.calls_in[place]
        for route, entered in routes.items():
            known = into.setdefault(route, Entered())
            _extend(known, entered)
            known.goes_on.extend(array("H", map(numbers.__getitem__, entered.goes_on)))


def _renumbered(whole: Onward, part: Onward) -> list[int]:
    return [whole.number(targets) for targets in part.sets]


def _leave(known: Outs, outs: Outs) -> None:
    known.whole.update(outs.whole)
    known.by_request_id.update(outs.by_request_id)
    known.unseen += outs.unseen
    for example in outs.examples:
        known.show(example)
    for place, times in outs.began.items():
        _extend(known.began.setdefault(place, Times()), times)


def _extend(known: Times, more: Times) -> None:
    known.starts.extend(more.starts)
    known.ends.extend(more.ends)
