"""A span that was reported more than once is one span, with all that was said of it."""

import time
from dataclasses import replace

import pytest

from grpc_tracing.spans.merge import merged
from grpc_tracing.spans.model import Event, Kind, Span

REAL = Span(
    trace_id="a" * 32,
    span_id="b" * 16,
    parent_id="c" * 16,
    name="get",
    kind=Kind.SERVER,
    service="svc2",
    version="",
    start_ns=1000,
    end_ns=2000,
    error=False,
    message="",
    attributes=(("http.method", "GET"),),
    resource=(("service.name", "svc2"),),
    events=(Event("ss", 1500, ()),),
)
NOTHING = replace(REAL, parent_id="", name="", kind=Kind.INTERNAL, start_ns=0, end_ns=0, attributes=(), events=())
PARTS = [
    (replace(NOTHING, attributes=(("late", "1"),)), {"attributes": (("http.method", "GET"), ("late", "1"))}),
    (replace(NOTHING, attributes=(("http.method", "PUT"),)), {}),
    (replace(NOTHING, error=True, message="reset"), {"error": True, "message": "reset"}),
    (replace(NOTHING, kind=Kind.SERVER, start_ns=900, end_ns=2100), {"start_ns": 900, "end_ns": 2100}),
    (replace(NOTHING, events=(Event("sr", 1100, ()),)), {"events": (Event("ss", 1500, ()), Event("sr", 1100, ()))}),
    (NOTHING, {}),
    (REAL, {}),
]


@pytest.mark.parametrize(("part", "adds"), PARTS)
def test_a_part_completes_its_span_and_erases_nothing(part: Span, adds: dict[str, object]) -> None:
    assert merged([REAL, part]) == [replace(REAL, **adds)]  # type: ignore[arg-type]


def test_the_full_report_may_come_after_its_part() -> None:
    (one,) = merged([replace(NOTHING, attributes=(("late", "1"),)), REAL])
    assert (one.kind, one.start_ns, one.name) == (Kind.SERVER, 1000, "get")
    assert dict(one.attributes) == {"http.method": "GET", "late": "1"}


def test_of_two_sides_of_a_call_a_part_belongs_to_its_service() -> None:
    client = replace(REAL, kind=Kind.CLIENT, service="svc1")
    late = replace(NOTHING, service="svc1", attributes=(("late", "1"),))
    assert [dict(span.attributes).get("late") for span in merged([REAL, client, late])] == [None, "1"]


def test_ten_thousand_reports_of_one_span_are_merged_in_less_than_a_second() -> None:
    reports = [replace(REAL, events=(Event("e", number, ()),)) for number in range(10_000)]
    begun = time.process_time()
    (one,) = merged(reports)
    assert len(one.events) == 10_000
    assert time.process_time() - begun < 1
