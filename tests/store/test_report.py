"""The report: the same views as one file, which needs nobody."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from grpc_tracing.spans.formats import otlp
from grpc_tracing.store.report import render
from tests.store import odd
from tests.store.browsing import violations, watched
from tests.store.calls import cut_at, new_id, talk_parts
from tests.store.support import Part, export_request
from tests.store.test_pages import EVIL, Text, evil_parts

WHOLE, UPPER, LOWER = new_id(16), new_id(16), new_id(16)
PIECES = cut_at(talk_parts("TalkBidirectional"), "svc2")
NOTE = {
    "trace_ids": [UPPER, LOWER],
    "rpc": "TalkBidirectional",
    "verdict": "broken",
    "problems": ["svc2 received traceparent and did not forward it: 2 traces, expected 1"],
    "hops": [{"service": "svc2", "headers": [{"key": "traceparent", "value": "00", "fate": "left_out"}]}],
}


def document(trace_id: str, parts: list[Part]) -> dict[str, Any]:
    request = export_request(trace_id, parts)
    return otlp.to_json(group.SerializeToString() for group in request.resource_spans)


def run() -> str:
    documents = [document(WHOLE, talk_parts()), document(UPPER, PIECES[0]), document(LOWER, PIECES[1])]
    return render(documents, [NOTE], title="client call at 127.0.0.1:9999")


def test_it_holds_every_view_and_its_links_lead_to_places_in_it() -> None:
    page = Text(run())
    for told in (
        "svc2 is cut off",
        "3 traces, 2 broken ones",
        "Share of the time",
        "traceparent left out",
        WHOLE,
        "Torn at svc2.",
    ):
        assert told in page.text
    places = {f"#{attrs['id']}" for _, attrs in page.tags if attrs.get("id")}
    assert page.targets() <= places
    assert {f"#trace-{trace_id}" for trace_id in (WHOLE, UPPER, LOWER)} <= page.targets()
    assert page.text.count("The whole call, sewn together from 2 traces") == 1
    assert page.text.count("Each header's thread through the hops") == 2


def test_hostile_records_stay_text_in_threads_and_seams() -> None:
    evil = f"{EVIL}\u202e{'x' * 1024**2}"
    header = {"key": "traceparent", "value": evil, "fate": evil, "length": 1, "sha256": evil}
    hops = [{"service": "svc2", "record": "whole", "headers": [header, header | {"key": evil}]}, {"service": evil}]
    documents = [document(UPPER, PIECES[0]), document(LOWER, PIECES[1])]
    written = render(documents, [NOTE | {"hops": hops}])
    page = Text(written)
    assert not [tag for tag, _ in page.tags if tag in {"img", "script"}]
    assert "\u202e" not in written
    assert "Torn at svc2." in page.text
    assert len(written) < 1024**2


def test_a_linked_trace_that_is_not_in_the_file_is_named_and_no_link() -> None:
    linked = new_id(16)
    made = odd.told(linked)
    page = Text(render([otlp.to_json(group.SerializeToString() for group in made.request.resource_spans)]))
    assert linked in page.text
    assert f"#trace-{linked}" not in page.targets()


def test_a_documents_spans_may_come_in_parts_and_it_is_left_as_it_was() -> None:
    parts = talk_parts()
    halves = [document(WHOLE, parts[:3]), document(WHOLE, parts[3:])]
    before = str(halves)
    page = Text(render(halves))
    assert "1 trace" in page.text
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "badge bad"]
    assert str(halves) == before


def test_without_a_trace_it_says_so_and_still_shows_what_the_requester_saw() -> None:
    page = Text(render([], [NOTE]))
    assert "No trace was found" in page.text
    assert "TalkBidirectional, without a trace" in page.text
    assert "svc2 received traceparent and did not forward it" in page.text


def test_what_is_no_otlp_is_refused() -> None:
    with pytest.raises(ValueError, match="no ExportTraceServiceRequest"):
        render([{"resourceSpans": 7}])
    with pytest.raises(ValueError, match="verdict is one of"):
        render([], [{"verdict": "fine"}])


def test_markup_stays_text() -> None:
    page = Text(render([document(WHOLE, evil_parts())], [NOTE | {"problems": [EVIL], "trace_ids": [WHOLE]}], EVIL))
    assert not [tag for tag, _ in page.tags if tag in {"img", "script"}]


@pytest.mark.browser
@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.full), 360])
def test_chromium_shows_it_from_a_file_without_asking_anybody(browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(run())
    with watched(browser, file.as_uri(), viewport={"width": width, "height": 900}) as page:
        page.goto(file.as_uri())
        # The style sheet is in force: without it a skip link stands in the open.
        assert page.get_by_text("Skip to content").bounding_box() == {"x": 0, "y": 0, "width": 1, "height": 1}
        page.get_by_role("link", name="TalkBidirectional").first.click()
        expect(page.get_by_role("heading", name="This trace is broken").first).to_be_in_viewport()
        row = page.locator(f"[id='trace-{WHOLE}'] details").nth(3)
        row.locator("summary").click()
        expect(row.get_by_text("grpc.status_code")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
