"""Records and spans together: each link of a call, and what the call is shown to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from grpc_tracing.evidence.causes import BREAKS, UNPROVEN, Finding, finding
from grpc_tracing.evidence.links import Context, Link, by_records, not_sampled_from_the_start, path_findings
from grpc_tracing.evidence.path import PathHop, align, fits
from grpc_tracing.evidence.records import HopRecord
from grpc_tracing.evidence.seen import Seen

_SPANS_SETTLE = frozenset({"no-records", "unseen-hop", "first-hop-unseen", "record-shortened"})
"""What records leave open and spans can show."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows that a call's trace is whole, or not.

    `unsampled` names the first hop and the header that say that nothing is sampled; None: sampled, or not known.
    """

    stops: tuple[PathHop, ...]
    links: tuple[Link, ...]
    others: tuple[Finding, ...]
    unsampled: tuple[str, str] | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Each once, those that break first."""
        every = dict.fromkeys([*self.others, *(one for link in self.links for one in link.findings)])
        return tuple(sorted(every, key=lambda one: one.cause.means != BREAKS))

    @property
    def broken(self) -> bool:
        return any(one.cause.means == BREAKS for one in self.findings)

    @property
    def unproven(self) -> bool:
        """Nothing contradicts, and something was not seen."""
        return not self.broken and any(one.cause.means == UNPROVEN for one in self.findings)


def weigh(
    records: Sequence[HopRecord], expected: Sequence[str], context: Context, seen: Seen | None = None
) -> Evidence:
    """Judges a call that ended OK. `seen` is what a backend shows of it; None where none was asked or read."""
    path = [record.service for record in records]
    stops = align(records, expected)
    links = by_records(stops, context)
    others = path_findings(stops, path, expected, fits(path, expected))
    unsampled = not_sampled_from_the_start(stops, context.sent)
    if not others and records and not any(record.trace_id for record in records):
        others.append(finding("no-trace-id", hop=records[0].service))
    if seen and not unsampled and fits(path, expected):
        links = [_together(*pair) for pair in zip(links, seen.links(), strict=True)]
    return Evidence(stops, tuple(_carried(links)), tuple(others), unsampled)


def _together(recorded: Link, seen: Link) -> Link:
    """One link from the two: what breaks it in either, else what shows it in either."""
    by = tuple(dict.fromkeys([*recorded.by, *seen.by]))
    if recorded.holds is False:
        return replace(recorded, by=by if seen.holds is False else recorded.by)
    if seen.holds is False:
        return replace(seen, findings=seen.findings)
    if seen.holds:
        left = tuple(one for one in recorded.findings if one.cause.name not in _SPANS_SETTLE)
        return Link(recorded.source, recorded.target, None if left else True, by, left)
    return Link(recorded.source, recorded.target, None, recorded.by, (*recorded.findings, *seen.findings))


def _carried(links: Sequence[Link]) -> Iterator[Link]:
    """A hop without a record is shown by the link that leads from before it to after it."""
    for place, link in enumerate(links):
        if link.holds is None and not link.findings and not link.by:
            after = next((one for one in links[place + 1 :] if one.holds is not None or one.findings), None)
            if after and after.holds:
                yield replace(link, holds=True, by=after.by)
                continue
        yield link
