"""The pages in real Chromium: seen, clicked, tabbed through, watched while calls come in."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.store.browsing import PATIENCE_MS, violations, watched
from tests.store.calls import new_id, talk_parts
from tests.store.pages import Filled, broken_call, send
from tests.store.support import Store, export_request, running_store
from tests.store.test_pages import EVIL, PAGES, evil_parts
from tests.support.cells import cells

pytestmark = pytest.mark.browser

WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 360, "height": 780}
ColorScheme = Literal["light", "dark"]
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
AIM_S = 2.0


@pytest.fixture
def page(browser: Browser, store: Store) -> Iterator[Page]:
    with watched(browser, f"http://{store.http}", viewport=WIDE, base_url=f"http://{store.http}") as opened:
        yield opened


@pytest.fixture
def live_store() -> Iterator[Store]:
    with running_store() as running:
        yield running


@pytest.fixture
def live_page(browser: Browser, live_store: Store) -> Iterator[Page]:
    origin = f"http://{live_store.http}"
    with watched(browser, origin, viewport=WIDE, base_url=origin) as opened:
        yield opened


def expect_text(page: Page, text: str) -> None:
    expect(page.locator("main")).to_contain_text(text, timeout=PATIENCE_MS)


def expect_live(page: Page) -> None:
    expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)


def test_from_the_topology_to_a_trace_to_a_span_by_mouse(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.get_by_role("link", name="calls in and out of svc3 canary").first.click()
    page.get_by_role("link", name="1 trace", exact=True).click()
    expect(page).to_have_url(re.compile(r"/traces\?service=svc3\+canary$"))
    page.get_by_role("link", name="Talk", exact=True).click()
    expect(page).to_have_url(page.url.split("/trace/")[0] + f"/trace/{filled.canary}?service=svc3+canary")
    row = page.locator("details", has_text="svc3 canary")
    expect(row.get_by_text("grpc.status_code")).to_be_hidden()
    row.locator("summary").click()
    expect(row.get_by_text("grpc.status_code")).to_be_visible()
    expect(row.get_by_text("traceparent", exact=True)).to_be_visible()


def test_the_same_by_keyboard_alone(page: Page, filled: Filled) -> None:
    page.goto("/")
    _tab_to(page, "Skip to content")
    _tab_to(page, "svc3 canary 1 call: calls in and out of")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Calls in")).to_be_visible()
    _tab_to(page, "1 trace")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()
    _tab_to(page, "Talk")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Talk")).to_be_visible()
    _tab_to(page, "requester")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    last = page.locator("details").last
    expect(last).to_have_attribute("open", "")
    expect(last.get_by_text("grpc.status_code")).to_be_visible()
    page.keyboard.press("ArrowUp")
    assert "svc2" in _focused(page)


def _tab_to(page: Page, name: str) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if _focused(page).startswith(name):
            return
    raise AssertionError(f"the keyboard does not reach {name!r}")


def _focused(page: Page) -> str:
    found: str = page.evaluate(
        "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
    )
    return found


def test_the_pieces_of_a_broken_call_lead_to_one_another(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.get_by_role("link", name="Show the broken traces of svc2").click()
    expect(page.get_by_role("row").filter(has_text="broken")).to_have_count(2)
    page.get_by_role("link", name="Talk", exact=True).last.click()
    expect(page.get_by_role("heading", name="This trace is broken")).to_be_visible()
    for piece in (filled.pieces[1], filled.pieces[0]):
        page.get_by_role("region", name="Traces of the same call").get_by_role("link").click()
        expect(page).to_have_url(re.compile(f"/trace/{piece}\\?"))


@pytest.mark.parametrize("path", cells(PAGES, PAGES[:1]))
def test_a_new_call_appears_within_two_seconds_without_a_reload(live_page: Page, live_store: Store, path: str) -> None:
    live_page.goto(path)
    expect_text(live_page, "No traces yet")
    expect_live(live_page)
    live_page.evaluate("window.sameDocument = true")
    for version, seen in (("v1", "svc3"), ("canary", "svc3 canary")):
        begun = time.monotonic()
        send(live_store, talk_parts("Talk", version=version))
        expect_text(live_page, seen)
        took = time.monotonic() - begun
        assert took < 10 * AIM_S, f"took {took:.1f} s"
    assert live_page.evaluate("window.sameDocument") is True


def test_a_page_of_a_trace_follows_its_spans_and_keeps_what_is_open(live_page: Page, live_store: Store) -> None:
    trace_id, parts = new_id(16), talk_parts()
    live_page.goto("/traces")
    expect_live(live_page)
    live_store.export(export_request(trace_id, parts[:3]))
    live_page.get_by_role("link", name="Talk", exact=True).click()
    expect_live(live_page)
    first = live_page.locator("details").first
    first.locator("summary").click()
    live_store.export(export_request(trace_id, parts[3:]))
    expect(live_page.locator("details")).to_have_count(7, timeout=PATIENCE_MS)
    expect(live_page.locator("details").first).to_have_attribute("open", "")
    assert "requester" in _focused(live_page)


def test_a_broken_call_is_arriving_first_and_broken_without_a_reload(live_page: Page, live_store: Store) -> None:
    live_page.goto("/traces")
    expect_live(live_page)
    broken_call(live_store)
    expect(live_page.locator(".badge.bad")).to_have_count(2, timeout=PATIENCE_MS)


@pytest.mark.full
def test_updates_can_be_paused(live_page: Page, live_store: Store) -> None:
    live_page.goto("/")
    expect_live(live_page)
    live_page.get_by_role("button", name="Live").click()
    expect(live_page.get_by_role("button", name="Paused")).to_have_attribute("aria-pressed", "false")
    told = "window.told = new Promise((resolve) => new EventSource('/events').addEventListener('change', resolve))"
    live_page.evaluate(f"{told}; undefined")
    send(live_store, talk_parts())
    live_page.evaluate("window.told.then(() => true)")
    expect_text(live_page, "No traces yet")
    live_page.get_by_role("button", name="Paused").click()
    expect_text(live_page, "svc3")


def test_a_filter_is_filled_in_and_stays_while_calls_come_in(live_page: Page, live_store: Store) -> None:
    send(live_store, talk_parts("Talk", version="canary"))
    send(live_store, talk_parts("Talk", version="v1"))
    live_page.goto("/traces")
    live_page.get_by_label("Service").select_option("svc3 canary")
    live_page.get_by_label("At least").fill("1 ms")
    live_page.get_by_role("button", name="Filter").click()
    expect_text(live_page, "1 trace")
    expect_live(live_page)
    live_page.get_by_label("At least").fill("half typed")
    send(live_store, talk_parts("Talk", version="canary"))
    expect_text(live_page, "2 traces")
    expect(live_page.get_by_label("At least")).to_have_value("half typed")
    live_page.get_by_label("At least").fill("fast")
    live_page.keyboard.press("Enter")
    expect(live_page.get_by_text("'fast' is not a duration")).to_be_visible()


@pytest.mark.full
def test_a_store_that_ends_is_noticed_and_found_again_when_it_is_back(browser: Browser) -> None:
    """Its page complains on the console that the stream is gone, as it must: it is opened unwatched."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    opened = browser.new_page(viewport=WIDE)
    with running_store("--http", address):
        opened.goto(f"http://{address}/traces")
        expect_live(opened)
    expect(opened.get_by_role("button", name="Store not reached")).to_be_visible(timeout=PATIENCE_MS)
    with running_store("--http", address) as again:
        send(again, talk_parts())
        expect_text(opened, "svc3")
        expect_live(opened)
    opened.close()


def test_a_span_attribute_with_markup_stays_text(live_page: Page, live_store: Store) -> None:
    trace_id = new_id(16)
    live_store.export(export_request(trace_id, evil_parts()))
    live_page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for path in (*PAGES, f"/trace/{trace_id}"):
        live_page.goto(path)
        expect(live_page.locator("img")).to_have_count(0)
    live_page.locator("summary").click()
    expect(live_page.get_by_role("cell", name=EVIL).first).to_be_visible()


def test_the_policy_stops_a_script_in_the_page(browser: Browser, store: Store, filled: Filled) -> None:
    page = browser.new_page()
    page.goto(f"http://{store.http}/")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    page.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.full)])
@pytest.mark.parametrize("size", [pytest.param(WIDE, marks=pytest.mark.full), NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    browser: Browser, store: Store, filled: Filled, scheme: ColorScheme, size: ViewportSize
) -> None:
    origin = f"http://{store.http}"
    traces = [f"/trace/{trace_id}" for trace_id in (filled.failed, filled.pieces[0])]
    with watched(browser, origin, viewport=size, color_scheme=scheme, base_url=origin) as page:
        for path in (*PAGES, "/traces?min=x", *traces):
            page.goto(path)
            for one in page.locator("summary").all()[:2]:
                one.click()
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@pytest.mark.full
def test_axe_finds_nothing_serious_on_empty_pages_and_errors(browser: Browser, live_store: Store) -> None:
    origin = f"http://{live_store.http}"
    with watched(browser, origin, base_url=origin) as page:
        for path in PAGES:
            page.goto(path)
            assert violations(page) == []
    # A page that is not found is an error on the console by itself.
    page = browser.new_page()
    page.goto(f"{origin}/trace/{'0' * 32}")
    assert violations(page) == []
    page.close()
