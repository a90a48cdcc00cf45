"""The pages over ordinary traffic: thirty calls a second, a tenth of them torn, some tried again, some failed."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.mesh.support import Mesh
from tests.store.browsing import PATIENCE_MS, watched
from tests.store.counted import Counted, count
from tests.store.traffic import CALLS, TORN_EACH, Made, busy_mesh
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.full]


@dataclass(frozen=True)
class Traffic:
    """`made` is what the requester knows, `counted` what the spans say."""

    mesh: Mesh
    made: list[Made]
    counted: Counted

    @property
    def url(self) -> str:
        found: str = self.mesh.facts["traces"]
        return found


@pytest.fixture(scope="module")
def traffic() -> Iterator[Traffic]:
    with busy_mesh() as (mesh, made):
        url = mesh.facts["traces"]
        torn = sum(call.torn for call in made)
        wait_for(lambda: count(url).totals["broken"] == torn, "the rest of each torn call is in the store")
        failed = {call.trace_id for call in made if call.failed}
        whole = {call.trace_id for call in made if not call.torn and not call.failed}
        wait_for(lambda: count(url).of("whole") == whole, "all spans of the other calls are in the store")
        counted = count(url)
        assert (torn, counted.of("failed")) == (CALLS // TORN_EACH, failed)
        yield Traffic(mesh, made, counted)


@pytest.fixture
def page(browser: Browser, traffic: Traffic) -> Iterator[Page]:
    size = {"width": 1280, "height": 800}
    with watched(browser, traffic.url, base_url=traffic.url, viewport=size) as opened:
        yield opened


def listed(page: Page, state: str) -> set[str]:
    """The ids of all traces that the list shows with this state, over all its pages."""
    found: set[str] = set()
    for number in range(1, 20):
        page.goto(f"/traces?range=all&state={state}&page={number}")
        links = page.locator("a.cover").evaluate_all("all => all.map(one => one.pathname)")
        found |= {link.rpartition("/")[2] for link in links}
        if not page.get_by_role("link", name="Older").count():
            break
    return found


def cells(page: Page, table: str) -> list[dict[str, str]]:
    """The rows of a table, each value under its column's name."""
    rows: list[dict[str, str]] = page.locator(f"{table} tbody tr").evaluate_all(
        "rows => rows.map(row => Object.fromEntries([...row.cells].map(c => [c.dataset.label, c.innerText])))"
    )
    return rows


def test_no_torn_and_no_failed_call_is_shown_whole_and_the_totals_are_those_of_the_spans(
    page: Page, traffic: Traffic
) -> None:
    torn_or_failed = {call.trace_id for call in traffic.made if call.torn or call.failed}
    page.goto("/traces?range=all")
    totals = traffic.counted.totals
    text = page.locator(".count").inner_text()
    assert text.startswith(f"{totals.total()} traces, {totals['broken']} broken ones, {totals['failed']} failed one")
    assert f"{totals['unproven']} not shown whole" in text
    shown = {state: listed(page, state) for state in ("whole", "unproven", "broken", "failed")}
    assert shown["whole"] & torn_or_failed == set()
    assert shown == {state: traffic.counted.of(state) for state in shown}


def test_a_call_that_was_tried_again_is_one_call_on_each_page(page: Page, traffic: Traffic) -> None:
    edges = traffic.counted.edges
    assert edges["ingress", "svc1", False].tries > edges["ingress", "svc1", False].calls, "nothing was tried again"
    page.goto("/?range=all")
    assert {
        (row["From"].split()[0], row["To"].split()[0], "cut off" in row["From"]): (
            int(row["Calls"].split()[0]),
            int(row["Errors"].split()[0]),
        )
        for row in cells(page, ".edges")
    } == {key: (edge.calls, edge.failed) for key, edge in edges.items()}
    page.goto("/paths?range=all")
    expect(page.locator(".count")).to_contain_text(f"{traffic.counted.totals.total()} traces folded")
    total = sum(_own(traffic.counted, key) for key in edges)
    for row, key in zip(cells(page, ".paths"), sorted(edges, key=_place), strict=True):
        assert int(row["Calls"].split()[0]) == edges[key].calls, key
        assert int(row["Share"].split()[0]) == pytest.approx(100 * _own(traffic.counted, key) / total, abs=1), key


def _place(key: tuple[str, str, bool]) -> tuple[bool, int]:
    return key[2], ["requester", "ingress", "svc1", "svc2"].index(key[0])


def _own(counted: Counted, key: tuple[str, str, bool]) -> int:
    """The time of the calls along an edge without that of the calls made from there."""
    below = sum(edge.lasted for other, edge in counted.edges.items() if (other[0], other[2]) == (key[1], key[2]))
    return counted.edges[key].lasted - below


def test_a_trace_tells_why_it_is_not_shown_whole(page: Page, traffic: Traffic) -> None:
    torn = next(call for call in traffic.made if call.torn and not call.failed)
    page.goto(f"/trace/{torn.trace_id}")
    notice = page.get_by_role("region", name="What is wrong")
    expect(notice).to_contain_text("Not shown to be the whole call", timeout=PATIENCE_MS)
    expect(notice).to_contain_text("calls from svc2 to svc3 began traces of their own")
