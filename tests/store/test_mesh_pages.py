"""The pages over a real mesh: real Envoys report, the real requester calls, Chromium looks.

With PICTURES=1 the pages are also written to docs/pictures, as they are seen here.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.client.run import Finished, client
from tests.mesh.support import Mesh, mesh
from tests.store.browsing import PATIENCE_MS, violations, watched
from tests.store.pages import RPCS
from tests.store.test_pages import PAGES
from tests.support.cells import cells

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@pytest.fixture(scope="module")
def whole() -> Iterator[Mesh]:
    with mesh() as one:
        called = call(one)
        assert called.code == 0, called
        assert call(one, "-H", "x-lane: canary").code == 0
        yield one


@pytest.fixture(scope="module")
def torn() -> Iterator[Mesh]:
    with mesh("--propagate", "svc2=none") as one:
        assert call(one).code == 1
        yield one


def call(one: Mesh, *arguments: str) -> Finished:
    facts = one.facts
    return client("call", "--target", one.target, "--traces", facts["traces"], "--otlp", facts["otlp_http"], *arguments)


def look(browser: Browser, one: Mesh, **context: Any) -> Any:
    url = one.facts["traces"]
    return watched(browser, url, base_url=url, **{"viewport": {"width": 1280, "height": 800}, **context})


def picture(page: Page, name: str) -> None:
    if os.environ.get("PICTURES"):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


@pytest.mark.full
def test_each_page_shows_the_four_calls(browser: Browser, whole: Mesh) -> None:
    with look(browser, whole) as page:
        page.goto("/")
        for name in (
            "requester begins calls",
            "ingress 8 calls",
            "svc1 8 calls",
            "svc2 8 calls",
            "svc3 4 calls",
            "svc3 canary 4 calls",
        ):
            expect(page.get_by_role("link", name=name)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(".notice")).to_have_count(0)
        picture(page, "topology")
        page.goto("/traces")
        for rpc in RPCS:
            rows = page.get_by_role("row").filter(has=page.get_by_role("link", name=rpc, exact=True))
            expect(rows).to_have_count(2)
            expect(rows.filter(has_text="whole")).to_have_count(2)
        picture(page, "traces")
        page.goto("/paths")
        for rpc in RPCS:
            expect(page.get_by_role("link", name=rpc, exact=True)).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="svc3 canary")).to_contain_text("4")
        picture(page, "end-to-end")


@pytest.mark.full
def test_a_trace_shows_seven_spans_with_sidecars_and_the_hop_records(browser: Browser, whole: Mesh) -> None:
    with look(browser, whole) as page:
        page.goto("/traces")
        page.get_by_role("link", name="TalkBidirectional", exact=True).last.click()
        assert [row.split() for row in page.locator("summary .who").all_inner_texts()] == [
            ["requester", "TalkBidirectional", "application,", "outbound"],
            ["ingress", "TalkBidirectional", "gateway,", "outbound"],
            ["svc1", "TalkBidirectional", "sidecar,", "inbound"],
            ["svc1", "TalkBidirectional", "sidecar,", "outbound"],
            ["svc2", "TalkBidirectional", "sidecar,", "inbound"],
            ["svc2", "TalkBidirectional", "sidecar,", "outbound"],
            ["svc3", "TalkBidirectional", "sidecar,", "inbound"],
        ]
        expect(page.get_by_role("region", name="Hop 2: svc2")).to_contain_text("traceparent")
        expect(page.locator(".decision.lost")).to_have_count(0)
        picture(page, "trace")
        span = page.locator("details").nth(4)
        span.locator("summary").click()
        expect(span.get_by_text("upstream_cluster.name")).to_be_visible()
        picture(page, "span")


@pytest.mark.parametrize("path", cells(PAGES, PAGES[:1]))
def test_a_call_appears_on_an_open_page_without_a_reload(browser: Browser, whole: Mesh, path: str) -> None:
    with look(browser, whole) as page:
        page.goto(path)
        expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
        page.evaluate("window.sameDocument = true")
        foot = page.locator("footer").inner_text()
        before = page.locator("main").inner_text()
        assert call(whole, "--rpc", "Talk").code == 0
        expect(page.locator("footer")).not_to_have_text(foot, timeout=PATIENCE_MS)
        expect(page.locator("main")).not_to_have_text(before, timeout=PATIENCE_MS)
        assert page.evaluate("window.sameDocument") is True


@pytest.mark.full
def test_with_propagation_off_the_pieces_are_broken_and_linked(browser: Browser, torn: Mesh) -> None:
    with look(browser, torn) as page:
        page.goto("/traces?state=broken")
        expect(page.locator(".badge.bad")).to_have_count(8, timeout=PATIENCE_MS)
        page.goto("/")
        expect(page.get_by_role("heading", name="svc2 is cut off")).to_be_visible()
        expect(page.get_by_role("link", name="svc2 cut off, 4×")).to_be_visible()
        picture(page, "topology-cut-off")
        page.get_by_role("link", name="Show the broken traces of svc2").click()
        page.get_by_role("link", name="TalkOneAnswerMore", exact=True).last.click()
        expect(page.get_by_role("heading", name="This trace is broken")).to_be_visible()
        expect(page.get_by_role("region", name="What is wrong")).to_contain_text("svc2 received traceparent")
        expect(page.get_by_role("region", name="Hop 2: svc2").locator(".decision.lost").first).to_have_text(
            "switched off"
        )
        seam = page.get_by_role("region", name="The whole call").locator(".seam")
        expect(seam).to_have_count(1)
        expect(seam).to_contain_text("Torn at svc2. svc2 received traceparent")
        expect(seam.locator(".badge", has_text="by hop records")).to_have_count(1)
        expect(page.locator(".sewn .row")).to_have_count(7)
        picture(page, "trace-broken")
        first = page.url
        siblings = page.get_by_role("region", name="Traces of the same call").get_by_role("link")
        siblings.click()
        expect(page).not_to_have_url(first)
        siblings.click()
        expect(page).to_have_url(first)
        assert violations(page) == []


@pytest.mark.full
def test_narrow_and_dark(browser: Browser, torn: Mesh) -> None:
    narrow = {"width": 360, "height": 780}
    with look(browser, torn, viewport=narrow, color_scheme="dark", device_scale_factor=2) as page:
        for path, name in (("/", "topology-narrow-dark"), ("/traces", "traces-narrow-dark")):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            picture(page, name)
