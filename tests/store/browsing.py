"""Real Chromium, watched: what a page must not do fails the test that opened it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.missing import missing

# Without these Chromium looks for hosts of its maker at every start.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
# How long a page may take for what it does in well under two seconds: only a hang takes longer.
PATIENCE_MS = 20_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's package, or any `chromium` on the path: Playwright's own download is not needed."""
    found = shutil.which("chromium")
    if not found:
        missing("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_OPTIONS))
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, origin: str, **context: Any) -> Iterator[Page]:
    """A page in a context of its own; console errors, script errors and requests to other origins are failures."""
    wrong: list[str] = []
    own = browser.new_context(**context)
    page = own.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on(
        "console", lambda said: wrong.append(f"console: {said.text}") if said.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", lambda asked: None if _own(asked.url, origin) else wrong.append(f"request to {asked.url}"))
    try:
        yield page
    finally:
        own.close()
    assert not wrong, wrong


def _own(url: str, origin: str) -> bool:
    return urlsplit(url).netloc == urlsplit(origin).netloc


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse, a line each."""
    if not _AXE.exists():
        missing("axe-core is not installed: npm ci in tests/store")
    page.evaluate(_AXE.read_text() + "; undefined")
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{page.url} {one['id']}: {one['help']}: {node['target']} {node['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
