"""Clocks that are off, on spans written down as a table."""

from dataclasses import replace

import pytest

from grpc_tracing.spans.model import Span
from grpc_tracing.spans.tree import assemble
from grpc_tracing.store.clocks import Skew, clocks
from grpc_tracing.store.waterfall import waterfall
from tests.spans.test_tree import CHAIN

MS = 1_000_000


def chain(svc2_off_ns: int) -> list[Span]:
    """The call of the table with its times in milliseconds, svc2's so much later."""
    slow = [replace(one, start_ns=one.start_ns * MS, end_ns=one.end_ns * MS) for one in CHAIN]
    return [
        replace(one, start_ns=one.start_ns + svc2_off_ns, end_ns=one.end_ns + svc2_off_ns)
        if one.service.startswith("svc2")
        else one
        for one in slow
    ]


@pytest.mark.parametrize("off_ns", [-500 * MS, 500 * MS])
def test_a_clock_that_is_off_is_told_and_what_is_below_it_stands_right_again(off_ns: int) -> None:
    trace = assemble(chain(off_ns))
    told = clocks(trace)
    assert told.skews[4] == Skew("svc2", "svc1", off_ns)
    right = [bar.left for bar in waterfall(assemble(chain(0))).bars]
    assert [bar.left for bar in waterfall(trace).bars][:5] == right[:5]
    assert [bar.left for bar in waterfall(trace, reported=True).bars] != right


@pytest.mark.parametrize("off_ns", [0, -4 * MS, 4 * MS])
def test_a_call_in_within_its_call_out_shows_no_clock_to_be_off(off_ns: int) -> None:
    assert clocks(assemble(chain(off_ns))).skews == {}


def test_a_call_in_that_begins_after_its_caller_gave_up_shows_nothing() -> None:
    given_up = [replace(one, error=True) for one in chain(500 * MS)]
    assert clocks(assemble(given_up)).skews == {}
