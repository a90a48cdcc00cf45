"""Three traces for those who ask a store's query APIs: what a search has to tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.store.calls import new_id, talk_parts
from tests.store.support import Part, Store, export_request, running_store

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TALK, SLOW, LATER = "7a" * 16, "51" * 16, "00" + "1a" * 15
"""Fixed, for they stand in the names of tests."""


@contextmanager
def store_with_three_traces() -> Iterator[Store]:
    """TALK begins at noon; SLOW, which fails at svc2, a minute later; LATER, of another service, an hour after noon."""
    with running_store() as running:
        for trace_id, parts, minutes in (
            (TALK, talk_parts("Talk"), 0),
            (SLOW, talk_parts("TalkBidirectional", slower=1000, fails_at="svc2"), 1),
            (LATER, [Part("other.name.space", 1, new_id(), name="job")], 60),
        ):
            at = int((NOON + timedelta(minutes=minutes)).timestamp()) * 10**9
            running.export(export_request(trace_id, parts, start_ns=at))
        yield running
