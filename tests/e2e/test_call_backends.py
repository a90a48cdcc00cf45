"""What a backend cannot or does not show is nobody's fault: such calls are connected or unproven, and never broken.

The spans are those of real sidecars, read back through a server that stands between the requester and the store.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.call import run as call
from tests.client.certificates import Files, issue
from tests.client.http_stub import http_stub
from tests.client.run import client, judged
from tests.mesh.support import Mesh, mesh
from tests.support.processes import Chain, chain

Spans = list[dict[str, Any]]
"""resourceSpans, as OTLP's JSON has them."""
NOT_YET = (404, b'{"error": {"httpCode": 404}}')
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def whole(shared_mesh: Mesh) -> Mesh:
    return shared_mesh


def talked(target: str, *options: str) -> call.Run:
    return judged("--target", target, "--rpc", "Talk", "--timeout", "30s", *options)


def said(run: call.Run) -> str:
    """All lines of a run."""
    (made,) = run.calls
    lines = [*made.judgement.problems, *made.judgement.notes, *run.notes]
    return "\n".join(lines)


async def through(one: Mesh, change: Callable[[Spans], Spans], *options: str, late: int = 0) -> call.Run:
    """A call whose spans are read with a change; the first `late` times they are not there."""
    asked: dict[str, int] = {}

    def answer(path: str) -> tuple[int, bytes]:
        asked[path] = asked.get(path, 0) + 1
        if asked[path] <= late:
            return NOT_YET
        got = httpx.get(one.facts["traces"] + path, timeout=10, trust_env=False)
        if got.status_code != 200 or "resourceSpans" not in got.json().get("result", {}):
            return got.status_code, got.content
        return 200, json.dumps({"result": {"resourceSpans": change(got.json()["result"]["resourceSpans"])}}).encode()

    async with http_stub(answer) as url:
        return await asyncio.to_thread(
            talked, one.target, "--traces", url, "--otlp", one.facts["otlp_http"], "--wait", "10s", *options
        )


def named(new: str) -> Callable[[Spans], Spans]:
    """Every service under another name; {} is the one that it has."""

    def change(resources: Spans) -> Spans:
        for attribute in (one for resource in resources for one in resource["resource"]["attributes"]):
            if attribute["key"] == "service.name" and re.search(r"svc\d", attribute["value"]["stringValue"]):
                attribute["value"]["stringValue"] = new.format(attribute["value"]["stringValue"])
        return resources

    return change


def spans_of(resources: Spans, service: str, kind: int) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Each span of a service and kind (2: server, 3: client), with the list that it stands in."""
    for resource in resources:
        names = [one["value"].get("stringValue") for one in resource["resource"]["attributes"]]
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                if any(str(name).endswith(service) for name in names) and span["kind"] in {kind, _KINDS[kind]}:
                    yield scope["spans"], span


_KINDS = {2: "SPAN_KIND_SERVER", 3: "SPAN_KIND_CLIENT"}


def retimed(resources: Spans) -> Spans:
    """As a collector that writes its own times: every span of a service off by hours of its own."""
    for hours, resource in enumerate(resources, start=1):
        for span in (one for scope in resource["scopeSpans"] for one in scope["spans"]):
            for key in ("startTimeUnixNano", "endTimeUnixNano"):
                span[key] = str(int(span[key]) + hours * HOUR_NS)
    return resources


def retried(resources: Spans) -> Spans:
    """A try before the one that worked, which reached nobody."""
    for spans, span in list(spans_of(resources, "svc1", 3)):
        spans.append(copy.deepcopy(span) | {"spanId": span["spanId"][::-1]})
    return resources


def with_waypoint(resources: Spans) -> Spans:
    """A proxy between svc1 and svc2 that leaves a server and a client span, as gateways and waypoints do."""
    (_, above), (_, below) = next(spans_of(resources, "svc1", 3)), next(spans_of(resources, "svc2", 2))
    server = copy.deepcopy(below) | {"spanId": "aaaaaaaaaaaaaaa1", "parentSpanId": above["spanId"]}
    client = copy.deepcopy(above) | {"spanId": "aaaaaaaaaaaaaaa2", "parentSpanId": "aaaaaaaaaaaaaaa1"}
    below["parentSpanId"] = "aaaaaaaaaaaaaaa2"
    name = {"attributes": [{"key": "service.name", "value": {"stringValue": "waypoint.shop"}}]}
    return [*resources, {"resource": name, "scopeSpans": [{"spans": [server, client]}]}]


def without_requester(resources: Spans) -> Spans:
    """A backend that never got the requester's own span."""
    left = [one for one in resources if "requester" not in json.dumps(one["resource"])]
    return left or resources


WHOLE_ALL_THE_SAME: dict[str, Callable[[Spans], Spans]] = {
    "as they are": lambda resources: resources,
    "times written by a collector": retimed,
    "a retry": retried,
    "a waypoint's two spans": with_waypoint,
    "prod/svc1": named("prod/{}"),
    "svc1.shop": named("{}.shop"),
    "svc1.shop.svc.cluster.local": named("{}.shop.svc.cluster.local"),
}


@pytest.mark.parametrize("change", WHOLE_ALL_THE_SAME.values(), ids=WHOLE_ALL_THE_SAME)
async def test_a_whole_trace_is_connected_with(whole: Mesh, change: Callable[[Spans], Spans]) -> None:
    run = await through(whole, change)
    assert run.verdict == "connected", said(run)
    assert all(link.by and link.holds for link in run.calls[0].judgement.links)


async def test_spans_that_come_late_are_waited_for(whole: Mesh) -> None:
    run = await through(whole, lambda resources: resources, late=8)
    assert run.verdict == "connected", said(run)


NOT_SHOWN: dict[str, tuple[Callable[[Spans], Spans], int, str]] = {
    "a backend that samples at the tail": (lambda resources: resources, 10**6, "--wait 30s"),
    "names unlike the expected ones": (named("shop-{}-v2"), 0, "--expect"),
    "no span of the requester": (without_requester, 0, "--wait 30s"),
}


@pytest.mark.parametrize(("change", "late", "words"), NOT_SHOWN.values(), ids=NOT_SHOWN)
async def test_what_the_backend_does_not_show_is_unproven(
    whole: Mesh, change: Callable[[Spans], Spans], late: int, words: str
) -> None:
    run = await through(whole, change, "--wait", "2s", late=late)
    assert run.verdict == "unproven", said(run)
    (finding, *_) = run.calls[0].judgement.findings
    assert words in f"{finding.line} {finding.cause.fix}"


UNREADABLE: dict[str, tuple[int, bytes, str]] = {
    "another API in text": (404, b"404 page not found", "is it another backend's API (--traces-api)"),
    "another API in HTML": (404, b"<html><title>Not found</title></html>", "path prefix missing from the URL"),
    "a page for people": (200, b"<!doctype html><title>Grafana</title>", "its answer is not that API's JSON"),
    "no credentials": (401, b"", "wants credentials (401): give --traces-header"),
    "wrong credentials": (403, b"{}", "wants credentials (403): give --traces-header"),
    "a redirect": (302, b"", "redirects to elsewhere: give that URL to --traces"),
    "its own fault": (500, b"oops", "answers 500"),
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain(tmp_path_factory.mktemp("recording")) as one:
        yield one


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    off = {"hop_records": "off"}
    with chain(tmp_path_factory.mktemp("silent"), svc1=off, svc2=off, svc3=off) as one:
        yield one


@pytest.mark.parametrize(("status", "body", "words"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_backend_that_cannot_be_read_costs_no_verdict_that_records_show(
    recording: Chain, status: int, body: bytes, words: str
) -> None:
    async with http_stub(lambda _: (status, body)) as url:
        run = await asyncio.to_thread(talked, recording.target, "--traces", url)
    assert run.verdict == "connected", said(run)
    assert "the traces could not be read, the records alone show it: " in said(run)
    assert words in said(run)


@pytest.mark.parametrize(("status", "body", "words"), UNREADABLE.values(), ids=UNREADABLE)
async def test_without_records_it_leaves_the_call_unproven(silent: Chain, status: int, body: bytes, words: str) -> None:
    async with http_stub(lambda _: (status, body)) as url:
        run = await asyncio.to_thread(talked, silent.target, "--traces", url)
    assert run.verdict == "unproven", said(run)
    assert words in said(run)
    assert "[backend-unread]" in said(run)


UNSAMPLED = {
    "traceparent -00": ["-H", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"],
    "x-b3-sampled 0": [
        *("-H", "x-b3-traceid: 4bf92f3577b34da6a3ce929d0e0e4736", "-H", "x-b3-spanid: 00f067aa0ba902b7"),
        *("-H", "x-b3-sampled: 0"),
    ],
    "sw8 0": ["-H", "sw8: 0-dHJhY2U=-c2VnbWVudA==-3-c3ZjMQ==-aW5zdGFuY2U=-L2E=-bG9jYWxob3N0"],
    "Datadog -1": [
        *("-H", "x-datadog-trace-id: 1234567", "-H", "x-datadog-parent-id: 7654321"),
        *("-H", "x-datadog-sampling-priority: -1"),
    ],
    "Datadog 0": [
        *("-H", "x-datadog-trace-id: 1234567", "-H", "x-datadog-parent-id: 7654321"),
        *("-H", "x-datadog-sampling-priority: 0"),
    ],
}


@pytest.mark.parametrize("sent", UNSAMPLED.values(), ids=UNSAMPLED)
def test_an_unsampled_call_is_connected_by_its_records(recording: Chain, sent: list[str]) -> None:
    run = talked(recording.target, *sent)
    assert run.verdict == "connected", said(run)
    assert "1 of 1 calls were not sampled in front of svc1" in said(run)


@pytest.mark.parametrize("sent", UNSAMPLED.values(), ids=UNSAMPLED)
async def test_where_spans_were_asked_for_it_is_unproven(recording: Chain, sent: list[str]) -> None:
    async with http_stub(lambda _: NOT_YET) as url:
        run = await asyncio.to_thread(talked, recording.target, "--traces", url, "--wait", "1s", *sent)
    assert run.verdict == "unproven", said(run)
    assert [one.cause.name for one in run.unproven] == ["not-sampled"]


def test_a_call_that_real_sidecars_do_not_sample_is_told_so(whole: Mesh) -> None:
    flags = UNSAMPLED["traceparent -00"]
    assert talked(whole.target, *flags).verdict == "connected"
    run = talked(whole.target, *flags, "--traces", whole.facts["traces"], "--wait", "2s")
    assert (run.verdict, [one.cause.name for one in run.unproven]) == ("unproven", ["not-sampled"]), said(run)


@pytest.mark.full
def test_a_call_whose_trace_nothing_names_is_found_by_its_request_id() -> None:
    """No record, and nothing sent: the ingress begins the trace."""
    with mesh("--run", f"svc1='{sys.executable}' -m tests.mesh.foreign_hop like-node") as one:
        run = talked(one.target, "--traces", one.facts["traces"], "--otlp", "http://127.0.0.1:1")
    assert run.verdict == "broken", said(run)
    assert "svc1 forwarded no trace header" in said(run)


def test_a_request_id_of_free_text_leaves_no_call_broken(whole: Mesh) -> None:
    """Envoy packs its sampling decision into an id that is a UUID, and has nowhere to put it in another."""
    stores = ("--traces", whole.facts["traces"], "--otlp", whole.facts["otlp_http"])
    run = talked(whole.target, "-H", "x-request-id: order-42", *stores)
    assert run.verdict in {"connected", "unproven"}, said(run)


def test_a_cut_file_of_spans_and_a_missing_one_are_wrong_usage_in_one_line(tmp_path: Path) -> None:
    cut = tmp_path / "spans.json"
    cut.write_text('{"resourceSpans": [{"resource": {"attr')
    for path in (cut, tmp_path / "none.json"):
        ended = client("call", "--traces", str(path))
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
        assert str(path) in ended.err


def test_an_unknown_authority_of_the_backend_is_named_and_costs_no_verdict(recording: Chain, tmp_path: Path) -> None:
    files = issue(tmp_path, "backend.example")
    with _https(files) as url:
        unknown = talked(recording.target, "--traces", url)
        known = talked(recording.target, "--traces", url, "--traces-ca", files.ca)
        elsewhere = url.replace("127.0.0.1", "localhost")
        mismatch = talked(recording.target, "--traces", elsewhere, "--traces-ca", files.ca)
    assert (unknown.verdict, known.verdict, mismatch.verdict) == ("connected", "connected", "connected")
    assert "shows a certificate of an unknown CA: give --traces-ca FILE" in said(unknown)
    assert "shows a certificate" not in said(known)
    assert "shows a certificate that does not hold: Hostname mismatch" in said(mismatch)


@contextmanager
def _https(files: Files) -> Iterator[str]:
    """Knows no path."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.full
def test_a_trace_context_that_all_calls_share_proves_no_call_by_anothers_spans() -> None:
    """Every other call of svc1's loses all headers; the spans of the whole ones stand under the same trace id."""
    shared = ("-H", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "-H", "x-request-id: one")
    with mesh("--run", f"svc1='{sys.executable}' -m tests.mesh.foreign_hop every-2") as one:
        run = talked(one.target, *shared, "--repeat", "6", "--traces", one.facts["traces"], "--wait", "3s")
    verdicts = [made.judgement.verdict for made in run.calls]
    assert run.verdict == "broken", verdicts
    assert all(verdict != "connected" for verdict in verdicts[1::2]), verdicts


@pytest.mark.full
def test_one_call_in_ten_that_loses_its_headers_is_found() -> None:
    with mesh("--run", f"svc2='{sys.executable}' -m tests.mesh.foreign_hop every-10") as one:
        run = talked(one.target, "--repeat", "10")
    assert [made.judgement.verdict for made in run.calls] == ["connected"] * 9 + ["broken"]
