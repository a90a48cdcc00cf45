"""The page "Propagation": it names what the command names, and shows each service's evidence and its fix."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from grpc_tracing.spans.model import Span
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends.sending import export
from tests.store.browsing import PATIENCE_MS, violations, watched
from tests.store.calls import talk_parts
from tests.store.pages import propagation_rows, send
from tests.store.support import Store, running_store
from tests.store.test_pages import Text, read
from tests.support.waiting import wait_for

SECONDS = 6.0
"""So that fewer traces come of it than one search gives."""
EVIL = 'a/b?c#d <img src=x onerror="alert(1)"> \u202e%2F'
TRAFFIC = (
    Traffic("cart", "cart-1", cuts=True, seconds=SECONDS),
    Traffic("payment", "payment-1", rpc="pay.Pay/Charge", cuts=True, passes_id=True, seconds=SECONDS),
    Traffic("shop", "shop-1", rpc="shop.Shop/Buy", seconds=SECONDS),
    Traffic("mailer", "mailer-1", rate=0, jobs=6, job_target="smtp", seconds=SECONDS),
    Traffic(EVIL, "evil-1", cuts=True, seconds=SECONDS),
)
LANGUAGE = ("telemetry.sdk.language", "java")


def spans() -> list[Span]:
    made = [span for one in TRAFFIC for span in a_minute_ago(one.spans())]
    java = [replace(one, resource=(*one.resource, LANGUAGE)) for one in made if one.service == "payment"]
    return [*(one for one in made if one.service != "payment"), *java]


def url_of(store: Store) -> str:
    return f"http://{store.http}"


def fill(store: Store, made: Sequence[Span]) -> None:
    export(f"http://{store.otlp_http}/v1/traces", made)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        fill(running, spans())
        yield running


@pytest.fixture
def page(browser: Browser, store: Store) -> Iterator[Page]:
    origin = f"http://{store.http}"
    with watched(browser, origin, base_url=origin, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


def told(store: Store) -> dict[str, tuple[str, str, str]]:
    """The same by the command, of the same spans."""
    command = [
        sys.executable,
        "-m",
        "grpc_tracing",
        "audit",
        "--traces",
        f"http://{store.http}",
        "--last",
        "1h",
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    services = json.loads(ended.stdout)["services"]
    return {one["service"]: (one["verdict"], f"{one['calls_out']:,}", f"{one['cut']:,}") for one in services}


def test_it_names_what_the_command_names(store: Store) -> None:
    shown = propagation_rows(url_of(store))
    assert {name: row[0] for name, row in shown.items() if name in {"cart", "payment", "shop", "mailer"}} == {
        "cart": "cuts",
        "payment": "cuts",
        "shop": "whole",
        "mailer": "job",
    }
    by_command = told(store)
    assert len(shown) == len(by_command) == len(TRAFFIC)
    assert {name: shown[name] for name in ("cart", "payment", "shop", "mailer")} == {
        name: by_command[name] for name in ("cart", "payment", "shop", "mailer")
    }


def test_a_cut_that_a_request_id_shows_has_pairs_of_traces_that_bear_it(store: Store) -> None:
    page = read(store, "/propagation/payment")
    assert "certain, call by call" in page.text
    assert "by request id Both bear" in page.text
    linked = sorted(target.removeprefix("/trace/") for target in page.targets() if target.startswith("/trace/"))
    assert len(linked) == 6, "three pairs"
    ids = [
        pair["value"]["stringValue"]
        for trace_id in linked
        for span in store.spans(trace_id)
        for pair in span["attributes"]
        if pair["key"] == "guid:x-request-id"
    ]
    assert sorted(ids.count(one) for one in set(ids)) == [2, 2, 2]


def test_a_cut_that_time_alone_shows_says_so(store: Store) -> None:
    page = read(store, "/propagation/cart")
    assert "by time The call out begins while this call is in; no other call was in then." in page.text
    assert "One pair alone proves nothing" in page.text
    assert "In shop.Cart/Get , calls to stock , at instance cart-1" in page.text


def test_the_pieces_of_a_cut_call_are_sewn_by_time_where_the_audit_vouches_for_it(store: Store) -> None:
    begun = [one.trace_id for one in TRAFFIC[0].spans() if one.kind == "client" and not one.parent_id][:5]

    def sewn() -> str:
        return next((text for one in begun if "Torn at cart." in (text := read(store, f"/trace/{one}").text)), "")

    wait_for(lambda: bool(sewn()), "the audit, and the page that follows it")
    assert "by time no other call was in at cart-1 when trace" in sewn()
    assert "One such pair proves nothing; all of cart's together do (z " in sewn()


def test_the_fix_opens_in_the_language_that_the_spans_name_and_is_there_in_each(store: Store) -> None:
    named, unnamed = read(store, "/propagation/payment"), read(store, "/propagation/cart")
    assert "for Java, as its spans say" in named.text
    assert "ServerInterceptor" in named.text
    assert [id_ for id_, checked in choices(named) if checked] == ["fix-java"]
    assert [id_ for id_, checked in choices(unnamed) if checked] == ["fix-python"]
    for file in ("aio_hop_library.py", "propagation.py", "go/main.go", "java/Hop.java", "node/hop.js"):
        assert f"From docs/examples/{file}" in unnamed.text
        assert f"From docs/examples/{file}" in named.text


def choices(page: Text) -> list[tuple[str, bool]]:
    """The tabs of the fix, and which of them is open."""
    radios = [attrs for tag, attrs in page.tags if tag == "input" and attrs.get("type") == "radio"]
    return [(attrs["id"] or "", "checked" in attrs) for attrs in radios]


@pytest.mark.parametrize(
    ("service", "says"), [("shop", "continue the call in"), ("mailer", "a timer or a queue's worker")]
)
def test_who_does_not_cut_has_no_fix_and_no_pairs(store: Store, service: str, says: str) -> None:
    page = read(store, f"/propagation/{service}")
    assert says in page.text
    assert "The fix" not in page.text
    assert "Examples" not in page.text


def test_a_service_that_is_not_here_is_said_so(store: Store) -> None:
    answer = store.get("/propagation/nobody")
    assert (answer.status_code, "This service is not here" in answer.text) == (404, True)


def test_a_hostile_name_is_text_and_leads_to_its_own_page(store: Store) -> None:
    name = EVIL.replace("\u202e", "\\u202e")
    page = read(store, "/propagation")
    assert name in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]
    its = read(store, f"/propagation/{quote(EVIL, safe='')}")
    assert f"{name} cuts" in its.text
    assert not [tag for tag, _ in its.tags if tag == "img"]


def test_without_spans_the_page_says_how_to_get_some() -> None:
    with running_store() as empty:
        assert "No traces yet" in read(empty, "/propagation").text


@pytest.mark.full
def test_spans_are_taken_while_an_audit_runs() -> None:
    """Envoy waits half a second for its export: ten times as long is a store that hangs."""
    many = [span for one in range(3) for span in a_minute_ago(Traffic(f"s{one}", seed=one, seconds=30).spans())]
    with running_store() as busy:
        fill(busy, many)
        slowest = 0.0
        busy.client.get(f"http://{busy.http}/propagation")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            before = time.monotonic()
            send(busy, talk_parts())
            slowest = max(slowest, time.monotonic() - before)
            assert busy.get("/propagation").status_code == 200
        assert slowest < 5, slowest


@pytest.mark.browser
@pytest.mark.full
def test_by_keyboard_from_the_table_to_the_pairs_and_the_fix(page: Page) -> None:
    page.goto("/propagation")
    page.locator(".audit").get_by_role("link", name="cart", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="cart cuts")).to_be_visible()
    expect(page.locator("figure.pair")).to_have_count(3)
    page.get_by_role("radio", name="Python").focus()
    for name in ("Java", "Go", "Node.js"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name=name)).to_be_checked()
        expect(page.locator(".panel:visible")).to_have_count(1)
        expect(page.locator(".panel:visible h4")).to_contain_text(name)
    page.locator("figure.pair a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="JSON", exact=True)).to_be_visible()


@pytest.mark.browser
@pytest.mark.full
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1920, 1024, 390])
def test_it_fits_and_is_accessible(browser: Browser, store: Store, width: int, scheme: str) -> None:
    origin = f"http://{store.http}"
    seen = {"base_url": origin, "viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    with watched(browser, origin, **seen) as page:
        page.goto("/propagation")
        cart = page.locator(".wholeness tr").filter(has=page.get_by_role("link", name="cart", exact=True))
        expect(cart.locator(".cutting")).to_contain_text("to stock")
        expect(cart.locator(".cutting .spark")).to_have_count(1)
        for path in ("/propagation", "/propagation/payment", "/propagation/cart", "/propagation/mailer"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.name = ''; one.open = true; })")
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@pytest.mark.browser
@pytest.mark.full
def test_it_follows_the_spans_without_a_reload_and_what_is_open_stays_open(browser: Browser) -> None:
    with running_store() as live:
        cut = a_minute_ago(Traffic(cuts=True, seconds=SECONDS).spans())
        fill(live, cut)
        origin = f"http://{live.http}"
        with watched(browser, origin, base_url=origin) as page:
            page.goto("/propagation/cart")
            page.locator("details.code summary").first.click()
            page.get_by_text("Node.js", exact=True).click()
            page.evaluate("window.sameDocument = true")
            before = page.locator(".facts").inner_text()
            fill(live, a_minute_ago(Traffic(cuts=True, seconds=SECONDS, seed=2).spans()))
            expect(page.locator(".facts")).not_to_have_text(before, timeout=PATIENCE_MS)
            assert page.evaluate("window.sameDocument") is True
            expect(page.locator("details.code").first).to_have_attribute("open", "")
            expect(page.get_by_role("radio", name="Node.js")).to_be_checked()


@pytest.mark.full
def test_what_came_since_is_in_the_next_audit() -> None:
    with running_store() as live:
        fill(live, a_minute_ago(Traffic("shop", seconds=SECONDS).spans()))
        assert set(propagation_rows(url_of(live))) == {"shop"}
        fill(live, a_minute_ago(Traffic("cart", cuts=True, seconds=SECONDS).spans()))
        wait_for(lambda: set(propagation_rows(url_of(live))) == {"shop", "cart"}, "the next audit")
