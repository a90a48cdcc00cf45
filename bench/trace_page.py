"""How the page of one long trace feels: what Chromium's own trace says of its first paint and of its frames."""

import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from playwright.sync_api import Browser, Page, sync_playwright

from bench.stores import send, store

SPANS = 10_000
"""As many as the store keeps of one trace."""
_SERVICES = 30
_PATIENCE_S = 120
_CATEGORIES = (
    "devtools.timeline",
    "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame",
    "blink.user_timing",
    "loading",
)
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
# In the page: what is done, between two marks; the second one when the frame after it has been drawn.
_DO = """([name, does]) => new Promise((done) => {
  performance.mark(`${name} begins`);
  const element = document.querySelector(does.at);
  if (does.event) element.value = does.value;
  if (does.event) element.dispatchEvent(new Event(does.event)); else element.click();
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { performance.mark(`${name} ends`); done(); };
    channel.port2.postMessage(0);
  });
})"""
ACTS: Mapping[str, Mapping[str, str]] = {
    "collapse all": {"at": "#fold-all"},
    "expand all": {"at": "#unfold-all"},
    "collapse below depth 3": {"at": "#depth", "value": "3", "event": "change"},
    "expand all again": {"at": "#unfold-all"},
    "collapse one branch": {"at": ".fold"},
    "expand it": {"at": ".fold"},
    "critical path only": {"at": "#critical"},
    "all of it": {"at": "#critical"},
    "zoom": {"at": "#zoom-to", "value": "300", "event": "input"},
    "sort by own time": {"at": "#sort", "value": "own", "event": "change"},
    "in order of the calls": {"at": "#sort", "value": "", "event": "change"},
}


@dataclass(frozen=True)
class Felt:
    """Milliseconds by what was done: from its begin to the frame after it."""

    first_paint: float
    rows_there: float
    loading_task: float
    scroll_frame: float
    acts: Mapping[str, float]


def measured(rounds: int) -> list[Felt]:
    """Each round with a store of its own, so that nothing of the trace was read before."""
    return [_round(number) for number in range(rounds)]


def _round(seed: int) -> Felt:
    with store() as (urls, _), sync_playwright() as playwright:
        http, trace_id = urls["http"], _send(urls["otlp_http"], seed)
        # The store summarizes what came in a moment after it came.
        _wait(lambda: httpx.get(f"http://{http}/api/v3/services", trust_env=False, timeout=60).json()["services"])
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_OPTIONS))
        found = _felt(browser, f"http://{http}/trace/{trace_id}")
        browser.close()
        return found


def _felt(browser: Browser, url: str) -> Felt:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url.partition("/trace/")[0] + "/static/icon.svg")  # Chromium is up, and the page's port is known
    browser.start_tracing(page=page, categories=list(_CATEGORIES))
    page.goto(url)
    _wait(lambda: page.locator("#fall .row").count() == SPANS and not page.locator("#loading").inner_text())
    page.evaluate("performance.mark('rows are there')")
    _scroll(page)
    for name, does in ACTS.items():
        page.evaluate(_DO, [name, does])
    return _read(json.loads(browser.stop_tracing())["traceEvents"])


def _scroll(page: Page) -> None:
    page.mouse.move(640, 700)
    page.evaluate("performance.mark('scroll begins')")
    for turn in range(60):
        page.mouse.wheel(0, 2_000 if turn < 40 else -3_000)
        page.evaluate("new Promise(requestAnimationFrame)")
    page.evaluate("performance.mark('scroll ends')")


def _read(events: Sequence[Mapping[str, Any]]) -> Felt:
    at = {one["name"]: one["ts"] for one in events if "blink.user_timing" in one["cat"]}
    painted = next(one for one in events if one["name"] == "firstContentfulPaint")
    begun = min(one["ts"] for one in events if _begins(one) and one["ts"] <= painted["ts"])
    main = next(
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain" and one["pid"] == painted["pid"]
    )
    tasks = [one for one in events if one["name"] == "RunTask" and (one["pid"], one["tid"]) == main]
    drawn = sorted(one["ts"] for one in events if one["name"] == "DrawFrame")
    scrolled = [one for one in drawn if at["scroll begins"] <= one <= at["scroll ends"]]
    return Felt(
        first_paint=(painted["ts"] - begun) / 1e3,
        rows_there=(at["rows are there"] - begun) / 1e3,
        loading_task=max(one["dur"] for one in tasks if begun <= one["ts"] <= at["rows are there"]) / 1e3,
        scroll_frame=max(after - before for before, after in pairwise(scrolled)) / 1e3,
        acts={name: (at[f"{name} ends"] - at[f"{name} begins"]) / 1e3 for name in ACTS},
    )


def _begins(event: Mapping[str, Any]) -> bool:
    """Whether it is the begin of the navigation, or its request where the browser tells only that."""
    if event["name"] == "ResourceSendRequest":
        return "/trace/" in str(event["args"]["data"]["url"])
    return event["name"] == "navigationStart" and "/trace/" in str(event["args"])


def rows(found: Sequence[Felt]) -> list[list[str | float]]:
    """A line each: its median and its worst, ms."""

    def line(name: str, values: Sequence[float]) -> list[str | float]:
        return [name, round(median(values), 1), round(max(values), 1)]

    return [
        line("first contentful paint, from the request on", [one.first_paint for one in found]),
        line("all rows are there", [one.rows_there for one in found]),
        line("longest task while they come", [one.loading_task for one in found]),
        line("longest time between two frames of a scroll", [one.scroll_frame for one in found]),
        *(line(f"{name}, to the frame after it", [one.acts[name] for one in found]) for name in ACTS),
    ]


def _wait(answered: Callable[[], object]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not answered() and time.monotonic() < until:
        time.sleep(0.1)


def _send(otlp: str, seed: int) -> str:
    """A tree of calls, each made by one of the forty before it; some fail."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    request, now = ExportTraceServiceRequest(), time.time_ns()
    trace_id = chance.randbytes(16)
    groups = [request.resource_spans.add() for _ in range(_SERVICES)]
    for number, group in enumerate(groups):
        group.resource.attributes.add(key="service.name").value.string_value = f"svc{number}"
        group.scope_spans.add()
    made: list[tuple[bytes, int, int]] = []
    for number in range(SPANS):
        parent, start, lasts = made[chance.randrange(max(0, number - 40), number)] if made else (b"", 0, 10**10)
        start, lasts = start + chance.randrange(1, 10**5), max(10**4, int(lasts * chance.uniform(0.3, 0.95)))
        span = groups[chance.randrange(_SERVICES)].scope_spans[0].spans.add(
            trace_id=trace_id, span_id=chance.randbytes(8), parent_span_id=parent, name=f"/shop.Cart/Step{number % 97}",
            kind=chance.choice((Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)),
            start_time_unix_nano=now + start, end_time_unix_nano=now + start + lasts,
        )  # fmt: skip
        span.status.code = Status.STATUS_CODE_ERROR if chance.random() < 0.001 else Status.STATUS_CODE_UNSET
        for key, value in (("http.method", "POST"), ("http.status_code", "200"), ("pod", f"pod-{number}")):
            span.attributes.add(key=key).value.string_value = value
        made.append((span.span_id, start, lasts))
    with httpx.Client(trust_env=False, timeout=60) as client:
        send(client, otlp, request.SerializeToString())
    return trace_id.hex()
