"""The pages over ordinary traffic: thirty calls a second, a tenth of them torn, some tried again, some failed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.mesh.support import Mesh
from tests.store.browsing import PATIENCE_MS, watched
from tests.store.counted import Counted, count
from tests.store.odd import BEHIND_MS, DEPTH, EVENTS, Odd, deep, eventful, skewed, told
from tests.store.traffic import KEPT, Made, busy_mesh, send
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
        whole = {call.trace_id for call in made if not call.torn and not call.failed}
        torn = sum(call.torn for call in made if not call.failed)
        wait_for(lambda: count(url).totals["broken"] >= torn, "the rest of each torn call is in the store")
        wait_for(lambda: count(url).of("whole") == whole, "all spans of the other calls are in the store")
        wait_for(lambda: not count(url).of("arriving"), "no trace lacks its beginning")
        counted = count(url)
        assert torn
        assert counted.of("failed") == {call.trace_id for call in made if call.failed}
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


def test_from_a_path_to_its_traces_and_back_range_and_filter_stay(page: Page, traffic: Traffic) -> None:
    page.goto("/paths?range=15m&call=Talk")
    row = page.locator(".paths tbody tr").filter(has_text="svc2")
    calls = row.first.locator("[data-label=Calls]").inner_text().split()[0]
    row.first.locator("a.cover").click()
    expect(page.locator(".narrowed")).to_contain_text("requester › ingress › svc1 › svc2")
    expect(page.locator(".count")).to_contain_text(f"{calls} traces,")
    listed_at = page.url
    assert "range=15m" in listed_at
    page.locator("a.cover").first.click()
    page.get_by_role("navigation", name="Pages").wait_for()
    page.locator(".crumb a").click()
    expect(page).to_have_url(listed_at)
    page.get_by_role("link", name="Topology", exact=True).click()
    expect(page.get_by_role("navigation", name="Time range").locator("[aria-current=true]")).to_have_text("15 min")


def test_where_a_fault_began_is_marked_and_who_only_carried_it(page: Page, traffic: Traffic) -> None:
    page.goto("/?range=all")
    marks = {
        (row["From"].split()[0], row["To"].split()[0]): row["Errors"]
        for row in cells(page, ".edges")
        if "cut off" not in row["From"] and row["Errors"] != "0"
    }
    assert "began here" in marks["svc2", "svc3"]
    assert "carried" in marks["requester", "ingress"]
    expect(page.locator(".graph.across .edge.carrying")).not_to_have_count(0)
    call = next(call for call in traffic.made if call.failed and not call.torn)
    page.goto(f"/trace/{call.trace_id}")
    expect(page.locator(".span.failed")).to_have_count(1)
    expect(page.locator(".span.failed summary")).to_contain_text("svc3")
    expect(page.locator("summary").filter(has_text="error, carried")).not_to_have_count(0)


def shown(page: Page, traffic: Traffic, odd: Odd) -> Page:
    """The page of a trace that is sent to the store for it."""
    send(traffic.mesh, odd.request.SerializeToString())
    page.goto(f"/trace/{odd.trace_id}")
    return page


def test_codes_have_names_and_nothing_that_a_span_tells_is_left_out(page: Page, traffic: Traffic) -> None:
    linked = traffic.made[0].trace_id
    odd = told(linked)
    row = shown(page, traffic, odd).locator(f"[id='span-{odd.at}-server']")
    row.locator("summary").click()
    for text in ("14 UNAVAILABLE", "200 OK", "io.example.grpc 1.6", "service.name"):
        expect(
            row.get_by_role("cell", name=text, exact=True).or_(row.get_by_role("rowheader", name=text))
        ).to_be_visible()
    expect(row.get_by_role("row", name="attributes dropped by its maker 7")).to_be_visible()
    row.get_by_role("link", name=linked).click()
    expect(page.locator(".facts")).to_contain_text(linked)


def test_a_clock_that_is_off_is_told_by_how_much_and_its_correction_can_be_switched_off(
    page: Page, traffic: Traffic
) -> None:
    odd = skewed()
    shown(page, traffic, odd)
    expect(page.get_by_role("region", name="Clocks")).to_contain_text(
        f"svc2's clock is {BEHIND_MS} ms behind that of svc1"
    )
    bar = page.locator(f"[id='span-{odd.at}-server'] .lane rect")
    corrected = float(bar.get_attribute("x") or 0)
    page.get_by_role("link", name="Show the times as reported").click()
    assert corrected > 0
    expect(bar).to_have_attribute("x", "0.0")
    page.get_by_role("link", name="Correct them").click()
    expect(bar).to_have_attribute("x", str(corrected))


@pytest.mark.parametrize("width", [1280, 390])
def test_each_level_stands_further_in_and_is_named_and_no_id_wraps(
    browser: Browser, traffic: Traffic, width: int
) -> None:
    size = {"width": width, "height": 900}
    with watched(browser, traffic.url, base_url=traffic.url, viewport=size) as page:
        shown(page, traffic, deep())
        lefts = page.locator(".span .svc").evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
        assert len(lefts) == DEPTH
        assert all(one < other for one, other in pairwise(lefts)), lefts
        expect(page.locator("summary").filter(has_text=f"step-{DEPTH - 1}")).to_be_visible()
        page.goto(f"/trace/{traffic.made[0].trace_id}")
        page.locator("#fall summary").nth(1).click()
        heights = page.locator(".facts code, .span[open] .id").evaluate_all(
            "all => all.map(one => { const range = document.createRange(); range.selectNodeContents(one.firstChild);"
            " return range.getClientRects().length; })"
        )
        assert set(heights) == {1}, heights
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_span_with_ten_thousand_events_opens_at_once(page: Page, traffic: Traffic) -> None:
    odd = eventful()
    shown(page, traffic, odd)
    first = page.locator("details").first
    first.locator("summary").click()
    expect(first).to_contain_text(f"{EVENTS - 20:,} more events")
    assert page.evaluate("document.querySelectorAll('*').length") < 3000


def test_what_is_read_stays_while_calls_come_in_and_when_it_is_dropped(page: Page, traffic: Traffic) -> None:
    """The last of the file: the store drops the traffic for it."""
    oldest = traffic.made[0]
    page.goto(f"/trace/{oldest.trace_id}")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
    row = page.locator("#fall details").nth(3)
    row.locator("summary").click()
    row.get_by_role("row", name="span id").first.evaluate("one => getSelection().selectAllChildren(one)")
    marked = page.evaluate("getSelection().toString()")
    assert marked
    send(traffic.mesh, b"".join(deep().request.SerializeToString() for _ in range(KEPT + 1)))
    expect(page.get_by_role("status").filter(has_text="No longer kept")).to_contain_text(
        "dropped this trace", timeout=PATIENCE_MS
    )
    assert page.evaluate("getSelection().toString()") == marked
    expect(row).to_have_attribute("open", "")
    expect(row.get_by_text("upstream_cluster.name")).to_be_visible()
