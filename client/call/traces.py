"""Looking the calls of a run up in the trace backend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from client.call.drive import Findings, Made
from client.call.outcome import Outcome
from client.call.verdict import sent_id
from grpc_tracing.backends.jaeger import Found, StoreUnreadable, Wanted, read_traces
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import reported_id
from grpc_tracing.headers.reading import distinct, in_32_digits

# The spans of a call that left no record are taken for complete when none has come for so many seconds.
_QUIET = 2.0


async def pictures(
    url: str, made: Sequence[Made], expected: tuple[str, ...], exported: bool, findings: Findings
) -> list[Picture | None]:
    """What the backend shows of each call; None where it cannot be read, and the findings say why."""
    viewers = [_Viewer(one, expected, exported) for one in made]
    wanted = [viewer.wanted() for viewer in viewers]
    try:
        await read_traces(url, wanted)
    except StoreUnreadable as error:
        findings.problems.append(f"the trace could not be read: {error}")
        return [None] * len(made)
    return [viewer.picture(one.found) for viewer, one in zip(viewers, wanted, strict=True)]


@dataclass(frozen=True)
class _Viewer:
    made: Made
    expected: tuple[str, ...]
    exported: bool

    def picture(self, found: Sequence[Found]) -> Picture:
        context = self.made.context
        sent = context.span_id if context else _span_sent(self.made.outcome)
        spans = tuple(span for one in found for span in one.spans)
        return Picture(spans, self.expected, sent, self.exported, tuple(one.document for one in found if one.spans))

    def wanted(self) -> Wanted:
        """The traces that the hops report, and the one that the requester began; where none reports, what was sent."""
        outcome, context = self.made.outcome, self.made.context
        reported = [*map(reported_id, outcome.hops), context.trace_id if context else ""]
        ids = distinct(reported) or distinct([sent_id(outcome.sent)])
        # Other families' ids, such as SkyWalking's, mean nothing to the backend.
        readable = tuple(one for one in map(in_32_digits, ids) if re.fullmatch("[0-9a-f]{32}", one))
        complete = self._complete if readable else lambda _: True
        return Wanted(readable, complete, quiet=0.0 if outcome.hops else _QUIET)

    def _complete(self, found: Sequence[Found]) -> bool:
        picture = self.picture(found)
        return picture.unbroken and self._due() <= picture.services

    def _due(self) -> set[str]:
        """The services whose spans must be there: those that left a record; without any, of a call that worked, all."""
        hops = self.made.outcome.hops
        if hops or self.made.outcome.status != "OK":
            return {hop.service for hop in hops} & set(self.expected)
        return set(self.expected)


def _span_sent(outcome: Outcome) -> str:
    """The span id that the user's own headers name as the parent."""
    sent = dict(outcome.sent)
    parts = str(sent.get("traceparent", "")).split("-")
    return parts[2] if len(parts) > 3 else str(sent.get("x-b3-spanid", ""))
