"""The matrix of wholeness: its cells say what the audit says, and its bars stand where the calls were."""

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest

from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Word
from grpc_tracing.spans.model import Span
from grpc_tracing.store.render import environment
from grpc_tracing.store.timeline import Matrix, bars, matrix
from tests.audit.traffic import BEGIN, Traffic

SECOND = 10**9


def made(*traffic: Iterable[Span]) -> Matrix:
    ledger = Ledger()
    for spans in traffic:
        ledger.take(spans)
    ledger.close()
    return matrix(ledger, judge(ledger))


def test_a_cell_says_what_it_lost_and_since_when() -> None:
    early = Traffic(seconds=20, version="v1", instance="cart-1").spans()
    late = [
        replace(one, start_ns=one.start_ns + 20 * SECOND, end_ns=one.end_ns + 20 * SECOND)
        for one in Traffic(seconds=20, version="v2", instance="cart-2", cuts=True, seed=2).spans()
    ]
    found = made(early, late)
    ((row,), (rpc,)) = found.rows, found.rpcs
    (cell,) = row.cells
    assert cell
    ((lost,), begun) = cell.lost, [one.start_ns for one in late if not one.parent_id and one.kind == "client"]
    assert (rpc, row.service, lost.out) == ("", "cart", "stock"), "of a service with one RPC the audit names none"
    assert lost.cut == len(begun)
    assert (cell.since_ns, cell.exact) == (min(begun), True)
    assert sum(cell.cut) == pytest.approx(lost.cut)
    assert sum(cell.whole) + sum(cell.cut) == pytest.approx(cell.calls_out)
    halfway = int((20 * SECOND + BEGIN - found.start_ns) // found.step_ns)
    assert not any(cell.cut[:halfway])
    assert not any(cell.whole[halfway + 1 :])
    (began,) = row.versions
    assert (began.version, began.cuts) == ("v2", True)
    assert began.place == pytest.approx(halfway, abs=1)


def test_an_rpc_that_is_whole_beside_one_that_cuts_has_a_cell_of_its_own() -> None:
    found = made(Traffic(cuts=True, twin=True, seconds=30).spans())
    cells = dict(zip(found.rpcs, found.rows[0].cells, strict=True))
    assert {name: cell.verdict for name, cell in cells.items() if cell} == {
        "shop.Cart/Get": Word.CUTS,
        "shop.Cart/List": Word.WHOLE,
    }
    whole = cells["shop.Cart/List"]
    assert whole
    assert (whole.lost, sum(whole.cut), whole.since_ns) == ((), 0, 0)


def test_what_has_no_such_call_has_no_cell() -> None:
    found = made(Traffic(seconds=10).spans(), Traffic("pay", "pay-1", rpc="pay.Pay/Charge", seconds=10).spans())
    assert [[cell is not None for cell in row.cells] for row in found.rows] in (
        [[True, False], [False, True]],
        [[False, True], [True, False]],
    )


def test_where_the_audit_cannot_tell_no_cell_is_whole() -> None:
    found = made(Traffic(seconds=10, jobs=0.5).spans())
    ((row,), (cell,)) = found.rows, found.rows[0].cells
    assert (row.service, cell and cell.verdict) == ("cart", Word.CANNOT_TELL)


def test_without_spans_there_is_no_row() -> None:
    assert made([]).rows == ()


def test_bars_stand_on_the_line_and_hang_below_it() -> None:
    assert bars((2.0, 0.0, 1.0), 2.0, down=False) == "M0 10v-10.0h3v10.0zM8 10v-5.0h3v5.0z"
    assert bars((0.0, 1.0), 1.0, down=True) == "M4 11v10.0h3v-10.0z"


class Nowhere:
    def propagation(self, service: str, place: int) -> str:  # noqa: ARG002
        return "#"


def test_hostile_names_are_text() -> None:
    evil = '<img src=x onerror="alert(1)">\u202e'
    found = made(Traffic(evil, rpc=evil, cuts=True, seconds=10, version=evil).spans())
    template = environment().from_string('{% import "wholeness.html" as w %}{{ w.matrix(matrix, links) }}')
    page = template.render(matrix=found, links=Nowhere())
    assert "<img" not in page
    assert "\u202e" not in page
    assert len(re.findall('<svg class="spark"', page)) == 1
