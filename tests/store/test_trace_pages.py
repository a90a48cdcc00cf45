"""The page of one trace: over HTTP, and in real Chromium with its script."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.store.browsing import PATIENCE_MS, violations, watched
from tests.store.calls import talk_parts
from tests.store.odd import long_parts
from tests.store.pages import send
from tests.store.support import Part, Store
from tests.store.test_pages import EVIL, evil_parts, read

LONG = 450


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return long_parts(LONG)


@pytest.fixture(scope="module")
def long(store: Store, parts: list[Part]) -> str:
    return send(store, parts)


@pytest.fixture
def page(browser: Browser, store: Store) -> Iterator[Page]:
    origin = f"http://{store.http}"
    with watched(browser, origin, base_url=origin, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


def test_a_long_trace_comes_in_stretches_and_each_span_has_a_page(store: Store, long: str, parts: list[Part]) -> None:
    first = read(store, f"/trace/{long}")
    assert f"Rows 1 to 200 of {LONG}" in first.text
    assert f"/trace/{long}?row=200" in first.targets()
    last = read(store, f"/trace/{long}", row="400")
    assert f"Rows 401 to {LONG} of {LONG}" in last.text
    assert f"/trace/{long}/span/{parts[-1].span_id}" in last.targets()
    assert "pod pod-449" in read(store, f"/trace/{long}/span/{parts[-1].span_id}").text


def test_a_search_gives_places_and_the_file_has_every_span(store: Store, long: str) -> None:
    assert store.get(f"/trace/{long}/find", find="POD=pod-44").json() == {"rows": [44, *range(440, LONG)]}
    document = store.get(f"/trace/{long}/otlp.json").json()
    assert sum(len(scope["spans"]) for one in document["resourceSpans"] for scope in one["scopeSpans"]) == LONG


def test_the_audit_reads_the_file_of_a_trace(store: Store, tmp_path: Path) -> None:
    answer = store.get(f"/trace/{send(store, talk_parts('Talk'))}/otlp.json")
    (tmp_path / "trace.json").write_bytes(answer.content)
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", str(tmp_path / "trace.json"), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = {one["service"]: one["calls_out"] for one in json.loads(ended.stdout)["services"]}
    # Each hop calls the next one; svc3 calls nobody.
    assert {name: told.get(name) for name in ("svc1", "svc2", "svc3")} == {"svc1": 1, "svc2": 1, "svc3": 0}


def test_what_is_not_here_is_said(store: Store, long: str) -> None:
    for path in ("", "/rows", "/find", "/span/a", "/otlp.json"):
        assert store.get(f"/trace/{'0' * 32}{path}").status_code == 404
    assert store.get(f"/trace/{long}/span/a").status_code == 404


def shown(page: Page) -> Locator:
    return page.locator("#fall .row:visible")


@pytest.mark.browser
@pytest.mark.full
def test_the_rows_are_folded_sorted_and_narrowed(page: Page, store: Store) -> None:
    trace_id = send(store, talk_parts(fails_at="svc2"))
    page.goto(f"/trace/{trace_id}")
    expect(shown(page)).to_have_count(7)
    page.get_by_role("button", name="Collapse all").click()
    expect(shown(page)).to_have_count(1)
    page.get_by_label("Down to").select_option("depth 2")
    expect(shown(page)).to_have_count(3)
    page.get_by_role("button", name="4 spans below svc1").click()
    expect(shown(page)).to_have_count(4)
    page.get_by_role("button", name="Next error (1)").click()
    expect(page.locator(":focus")).to_contain_text("svc2")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(":focus")).to_contain_text("svc1")
    page.get_by_role("button", name="Expand all").click()
    page.get_by_label("In order of").select_option("own time")
    expect(shown(page).first).to_contain_text("svc3")
    page.get_by_label("In order of").select_option("errors first")
    expect(shown(page).first).to_contain_text("error began here")
    page.get_by_label("In order of").select_option("the calls")
    expect(shown(page).first).to_contain_text("requester")


@pytest.mark.browser
@pytest.mark.full
def test_the_axis_is_zoomed_by_keyboard_and_by_mouse(page: Page, store: Store) -> None:
    page.goto(f"/trace/{send(store, talk_parts())}")
    lane = page.locator(".lane svg").first
    page.get_by_label("From").focus()
    for _ in range(10):
        page.keyboard.press("PageUp")
    expect(lane).not_to_have_attribute("viewBox", "0 0 1000 14")
    page.get_by_role("button", name="Whole").click()
    expect(lane).to_have_attribute("viewBox", "0 0 1000 14")
    box = page.locator("#overview").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + 20)
    page.mouse.up()
    expect(lane).to_have_attribute("viewBox", "500 0 500 14")
    expect(page.locator(".ticks span").first).to_have_text("4.55 ms")


@pytest.mark.browser
@pytest.mark.full
def test_every_row_of_a_long_trace_is_found_opened_and_linked_to(page: Page, long: str, parts: list[Part]) -> None:
    last = parts[-1].span_id
    page.goto(f"/trace/{long}?row=200#span-{last}")
    row = page.locator(f"[id='span-{last}']")
    expect(page.locator(".row")).to_have_count(LONG, timeout=PATIENCE_MS)
    expect(row).to_have_attribute("open", "")
    expect(row).to_be_in_viewport()
    expect(row.get_by_text("pod-449")).to_be_visible()
    assert [int(n) for n in page.locator(".row").evaluate_all("all => all.map(one => one.dataset.n)")] == list(
        range(LONG)
    )
    page.get_by_label("Find in this trace").fill("pod=pod-123")
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_have_text(f"1 span of {LONG}")
    expect(page.locator(":focus")).to_contain_text("Step123")
    assert page.url.split("?")[1].startswith("row=200&find=pod%3Dpod-123")


_HELD_UNTIL_A_CHANGE = """
  const fetched = window.fetch.bind(window);
  window.fetch = async (...asked) => {
    window.fetch = fetched;
    await new Promise((done) => {
      new EventSource("/events").addEventListener("change", () => setTimeout(done, 100));
      window.held = true;
    });
    return fetched(...asked);
  };
"""


@pytest.mark.browser
@pytest.mark.full
def test_a_change_that_comes_while_a_page_is_fetched_is_no_selection(page: Page, store: Store) -> None:
    page.add_init_script(_HELD_UNTIL_A_CHANGE)
    page.goto(f"/trace/{send(store, talk_parts())}")
    page.wait_for_function("window.held")
    foot = page.locator("footer").inner_text()
    send(store, talk_parts())
    expect(page.locator("footer")).not_to_have_text(foot, timeout=PATIENCE_MS)
    expect(page.locator("#live-text")).to_have_text("Live")


@pytest.mark.browser
@pytest.mark.full
def test_what_is_folded_and_open_stays_while_other_calls_come_in(page: Page, store: Store) -> None:
    page.goto(f"/trace/{send(store, talk_parts())}")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
    page.get_by_role("button", name="4 spans below svc1").click()
    foot = page.locator("footer").inner_text()
    send(store, talk_parts())
    expect(page.locator("footer")).not_to_have_text(foot, timeout=PATIENCE_MS)
    expect(shown(page)).to_have_count(3)


@pytest.mark.browser
@pytest.mark.full
def test_markup_in_names_stays_text_where_the_script_moves_it(page: Page, store: Store) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(f"/trace/{send(store, evil_parts())}?find=%3Cimg")
    page.get_by_label("In order of").select_option("duration")
    expect(page.locator("img")).to_have_count(0)
    page.locator("summary").first.click()
    expect(page.get_by_role("cell", name=EVIL).first).to_be_visible()


@pytest.mark.browser
@pytest.mark.full
@pytest.mark.parametrize("width", [320, 2560])
@pytest.mark.parametrize("forced", ["active", "none"])
def test_axe_finds_nothing_at_any_width_and_in_forced_colours(
    browser: Browser, store: Store, width: int, forced: str
) -> None:
    origin = f"http://{store.http}"
    size = {"width": width, "height": 900}
    failed = send(store, talk_parts(fails_at="svc3"))
    with watched(browser, origin, base_url=origin, viewport=size, forced_colors=forced) as page:
        page.goto(f"/trace/{failed}")
        page.locator("summary").nth(2).click()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
