"""The pages of many traces in a real browser."""

import pytest
from playwright.sync_api import Browser

from tests.store.browsing import violations, watched
from tests.store.pages import Filled
from tests.store.support import Store

pytestmark = pytest.mark.full


@pytest.mark.parametrize("width", [320, 1920])
def test_axe_finds_nothing_and_nothing_sticks_out(browser: Browser, store: Store, filled: Filled, width: int) -> None:
    origin = f"http://{store.http}"
    with watched(browser, origin, viewport={"width": width, "height": 800}, base_url=origin) as page:
        for path in (
            "/node/svc2",
            "/changes",
            f"/compare?a={filled.whole['Talk']}&b={filled.canary}",
            f"/compare?a={filled.canary}",
            "/traces?group=root&from=x",
            "/paths?row=requester+%E2%80%BA+ingress",
            "/?weight=p95",
        ):
            page.goto(path)
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_drag_over_the_scatter_selects_time_and_duration(browser: Browser, store: Store, filled: Filled) -> None:
    origin = f"http://{store.http}"
    with watched(browser, origin, viewport={"width": 1200, "height": 900}, base_url=origin) as page:
        page.goto("/traces")
        box = page.locator(".scatter svg").bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] + 9, box["y"] + box["height"] + 9)
        page.mouse.up()
        page.wait_for_url("**from=*")
        # The newest two begin at one moment: the pieces of the broken call.
        page.get_by_text("2 traces, 2 broken ones").wait_for()
