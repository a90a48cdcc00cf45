"""The audit of eight services behind real Envoys: who cuts is named, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.mesh.support import Mesh, mesh
from tests.mesh.test_otel import audit, talk_at_random
from tests.store.browsing import chromium, violations, watched
from tests.store.pages import propagation_rows
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

EXAMPLE = ROOT / "docs" / "examples" / "shop.yaml"
CALLS = 150


def words(one: Mesh) -> dict[str, str]:
    """Of each service, once the spans of all calls and 20 of the timer's are in."""

    def found() -> dict[str, str]:
        services = audit(one)
        made = {name: service["calls_out"] for name, service in services.items()}
        if made.get("payment", 0) < CALLS or made.get("cart", 0) < CALLS or made.get("mailer", 0) <= 20:
            return {}
        return {name: service["verdict"] for name, service in services.items()}

    return wait_for(found, "the spans of all calls", timeout=120)


def beating_faster(text: str) -> str:
    """Its timer shows its beat within seconds."""
    assert "every: 2s" in text
    return text.replace("every: 2s", "every: 500ms")


@pytest.mark.full
@pytest.mark.parametrize("mended", [False, True], ids=["two cut", "mended"])
def test_who_cuts_is_named_and_nobody_else(tmp_path: Path, mended: bool) -> None:
    """By unary calls alone, which cart passes on: its streams are in the ten minutes of docs/audit.md."""
    text = beating_faster(EXAMPLE.read_text())
    named = {"payment": "cuts"} if not mended else {}
    if mended:
        text = text.replace("propagate: [x-request-id]", "").replace("propagate: {streams: none}", "")
    (tmp_path / "shop.yaml").write_text(text)
    with mesh("--topology", str(tmp_path / "shop.yaml")) as one:
        talk_at_random(one.target, calls=CALLS)
        found = words(one)
        shown = propagation_rows(one.facts["traces"])
    # But for the timer, of which there is more a moment later, the page names what the command names.
    assert {name: row[0] for name, row in shown.items() if name != "mailer"} == {
        name: word for name, word in found.items() if name != "mailer"
    }
    assert {name: row[0] for name, row in shown.items() if row[0] in {"cuts", "partly"}} == named
    cutting = {name for name, word in found.items() if word in {"cuts", "partly"}}
    assert cutting == (set() if mended else {"payment"})
    assert {found["frontend"], found["checkout"], found["catalog"], found["cart"]} == {"whole"}


@pytest.mark.full
@pytest.mark.browser
def test_the_page_shows_the_cut_in_a_browser() -> None:
    """Keyboard alone, at 390 px, on eight services behind real Envoys."""
    with mesh("--topology", str(EXAMPLE)) as one, chromium() as browser:
        talk_at_random(one.target, calls=CALLS)
        url = one.facts["traces"]
        wait_for(lambda: propagation_rows(url).get("payment", ("",))[0] == "cuts", "payment is named", timeout=120)
        with watched(browser, url, base_url=url, viewport={"width": 390, "height": 844}) as page:
            page.goto("/propagation")
            page.locator(".audit").get_by_role("link", name="payment", exact=True).focus()
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", name="payment cuts")).to_be_visible()
            expect(page.locator("figure.pair").first).to_contain_text("by request id")
            page.locator("details.code summary").first.focus()
            page.keyboard.press("Enter")
            expect(page.locator("details.code pre").first).to_contain_text("interceptors")
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.locator("figure.pair a").first.focus()
            page.keyboard.press("Enter")
            expect(page.get_by_role("link", name="JSON", exact=True)).to_be_visible()
