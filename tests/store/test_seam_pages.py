"""A torn call in real Chromium: the seam, the header threads, and the fix in its tabs."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.store.browsing import violations, watched
from tests.store.pages import Filled
from tests.store.support import Store

pytestmark = [pytest.mark.browser, pytest.mark.full]


def origin(store: Store) -> str:
    return f"http://{store.http}"


def fits(page: Page) -> bool:
    found: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return found


def test_by_keyboard_from_the_seam_to_the_fix_in_another_language(
    browser: Browser, store: Store, filled: Filled
) -> None:
    with watched(browser, origin(store), base_url=origin(store)) as page:
        page.goto(f"/trace/{filled.pieces[1]}")
        whole = page.get_by_role("region", name="The whole call")
        expect(whole.get_by_role("listitem").filter(has_text="Torn at svc2.")).to_contain_text(
            "svc2 received traceparent and did not forward it (switched off: its propagation is set to none)"
        )
        expect(whole.locator(".row")).to_have_count(7)
        whole.locator(".mend > summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(whole.get_by_role("radio", name="Python")).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(whole.get_by_text("From docs/examples/java/Hop.java")).to_be_visible()
        expect(whole.locator(".panel:visible")).to_have_count(1)
        threads = page.get_by_role("region", name="Each header's thread")
        expect(threads.get_by_role("row", name="traceparent")).to_contain_text("ends here: switched off")


@pytest.mark.parametrize(
    "seen",
    [
        {"viewport": {"width": 320, "height": 800}},
        {"viewport": {"width": 2560, "height": 1200}, "color_scheme": "dark"},
        {"viewport": {"width": 1024, "height": 800}, "forced_colors": "active", "reduced_motion": "reduce"},
    ],
    ids=["narrow", "wide and dark", "forced colours"],
)
def test_it_fits_and_is_accessible(browser: Browser, store: Store, filled: Filled, seen: dict[str, object]) -> None:
    with watched(browser, origin(store), base_url=origin(store), **seen) as page:
        for path in (f"/trace/{filled.pieces[0]}", "/"):
            page.goto(path)
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            assert (violations(page), fits(page)) == ([], True)
            # Twice the text in 320 px would be more than anybody asks for: that width is 1280 px, four times as large.
            if page.viewport_size and page.viewport_size["width"] > 320:
                page.evaluate("document.documentElement.style.fontSize = '200%'")
                assert fits(page)


def test_without_a_script_each_language_can_be_read(browser: Browser, store: Store, filled: Filled) -> None:
    with watched(browser, origin(store), base_url=origin(store), java_script_enabled=False) as page:
        page.goto(f"/trace/{filled.pieces[0]}")
        mend = page.locator(".seam .mend")
        mend.locator("summary").first.click()
        for language in ("Python", "Java", "Go", "Node.js"):
            mend.get_by_text(language, exact=True).click()
            expect(mend.locator(".panel:visible h4")).to_contain_text(language)
