"""What is worth telling of a call and breaks nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from client.call.outcome import Outcome
from grpc_tracing.evidence import differences
from grpc_tracing.evidence.kept import WHY, allowed_keys, not_forwarded
from grpc_tracing.evidence.notes import Note, note
from grpc_tracing.evidence.path import PathHop, ends_the_path, placed


def notes(outcome: Outcome, stops: Sequence[PathHop], custom: Collection[str]) -> Iterator[Note]:
    records = placed(stops)
    if records:
        reached = len(stops) if outcome.status == "OK" else records[-1][0]
        yield from (note("no-record", hop=stop.service) for stop in stops[:reached] if not stop.hop)
    elif outcome.status != "OK":
        yield note("none-reached")
    yield from (note("shortened", hop=hop.service) for _, hop in records if hop.shortened)
    yield from _notes_on_keeping(stops, custom)
    if records and not records[0][1].shortened:
        first = records[0][1]
        for what in differences.differences(differences.sent_headers(outcome.sent), first.headers):
            yield note("between", source="the requester", target=first.service, silent="", what=what)
    yield from _notes_between(stops)


def _notes_between(stops: Sequence[PathHop]) -> Iterator[Note]:
    for (here, hop), (there, later) in pairwise(placed(stops)):
        if not hop.shortened and not later.shortened:
            silent = "".join(f" ({stop.service} left no record)" for stop in stops[here + 1 : there])
            for what in differences.differences(differences.forwarded(hop), later.headers):
                yield note("between", source=hop.service, target=later.service, silent=silent, what=what)


def _notes_on_keeping(stops: Sequence[PathHop], custom: Collection[str]) -> Iterator[Note]:
    """-H headers that no service is set to forward, and what the last service would keep if it called anybody."""
    records = placed(stops)
    allowed = allowed_keys([hop for _, hop in records], custom)
    for place, hop in records:
        for header in hop.headers:
            if header.key in set(custom) - allowed and header.decision in WHY:
                yield note("no-further", key=header.key, hop=hop.service, why=WHY[header.decision])
        kept = list(dict.fromkeys(header.key for header in not_forwarded(hop, allowed)))
        if kept and ends_the_path(stops, place):
            yield note("last-would-not", hop=hop.service, keys=", ".join(kept))
