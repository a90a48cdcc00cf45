"""Spans as no tracer should make them: each counted once, none believed, no crash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit, Word
from grpc_tracing.audit.traces import OpenTraces
from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.formats.documents import line, spans_of
from grpc_tracing.spans.model import Span
from tests.audit.traffic import BEGIN, MS, Traffic
from tests.support.spans import make

T = "a" * 32


def server(span: str = "1", parent: str = "", trace: str = T, start: int = BEGIN) -> Span:
    return make(trace, span, parent, "cart", "Get", "server", start, start + 9 * MS)


def client(span: str = "2", parent: str = "1", trace: str = T, start: int = BEGIN + MS) -> Span:
    return make(trace, span, parent, "cart", "Get", "client", start, start + MS, False, **{"peer.service": "stock"})


def audit(spans: Sequence[Span]) -> Audit:
    ledger = Ledger()
    ledger.take(spans)
    ledger.close()
    return judge(ledger)


CASES: dict[str, tuple[list[Span], Word, int]] = {
    "several roots": ([server(), server("3"), client()], Word.WHOLE, 1),
    "several orphans": ([server(parent="8"), client(parent="9"), client("3", "9")], Word.CANNOT_TELL, 2),
    "a parent that is its own descendant": ([client("2", "3"), client("3", "2")], Word.CANNOT_TELL, 2),
    "a span that is its own parent": ([client("2", "2")], Word.CANNOT_TELL, 1),
    "a parent in another trace, as a link": (
        [server(), client(parent="1"), client("3", "", "b" * 32)],
        Word.CANNOT_TELL,
        2,
    ),
    "times below zero": ([server(start=-9 * MS), client(start=-8 * MS)], Word.WHOLE, 1),
    "ids of 64 and 128 bits": ([server(trace="f" * 16 + "a" * 16), client(trace="a" * 16)], Word.WHOLE, 1),
    "times of zero": ([server(start=0), client(start=0)], Word.WHOLE, 1),
    "an end before the start": ([make(T, "1", "", "cart", "Get", "server", BEGIN, 5), client()], Word.WHOLE, 1),
    "a span twice, the second one different": ([server(), client(), client("2", "")], Word.WHOLE, 1),
    "a name of 100 KB": ([make(T, "1", "", "cart", "n" * 100_000, "server", BEGIN, BEGIN), client()], Word.WHOLE, 1),
}


@pytest.mark.parametrize("what", CASES)
def test_malformed_spans_are_counted_once_and_believed_by_nobody(what: str) -> None:
    spans, word, calls = CASES[what]
    (found,) = audit(spans).services
    assert (found.verdict, found.calls_out) == (word, calls)


def test_a_zipkin_server_span_shares_its_id_with_the_call_out_above_it() -> None:
    called = make(T, "1", "", "stock", "Get", "server", BEGIN, BEGIN + 9 * MS)
    onward = make(T, "2", "1", "stock", "Get", "client", BEGIN, BEGIN + MS)
    words = {one.service: one.verdict for one in audit([client("1", ""), called, onward]).services}
    assert words["stock"] is Word.WHOLE


CALL_IN = {
    "traceID": "a",
    "spanID": "1",
    "startTime": 1,
    "duration": 9,
    "tags": [{"key": "span.kind", "value": "server"}],
}
CALL_OUT = {
    "traceID": "a",
    "spanID": "2",
    "startTime": 2,
    "duration": 1,
    "tags": [{"key": "span.kind", "value": "client"}],
}


def follows(span: str, trace: str = "a", kind: str = "FOLLOWS_FROM") -> dict[str, str]:
    return {"refType": kind, "traceID": trace, "spanID": span}


REFERENCES: dict[str, tuple[list[dict[str, str]], Word]] = {
    "it follows from the call in": ([follows("1")], Word.WHOLE),
    "it follows from a call of another trace": ([follows("1", "b")], Word.CANNOT_TELL),
    "it follows from a span that is not there": ([follows("9")], Word.CANNOT_TELL),
    "it follows from itself": ([follows("2")], Word.CANNOT_TELL),
    "it follows from one that is not there, and is a child of the call in": (
        [follows("9"), follows("1", kind="CHILD_OF")],
        Word.WHOLE,
    ),
    "it follows from the call in, and is a child of one that is not there": (
        [follows("1"), follows("9", kind="CHILD_OF")],
        Word.CANNOT_TELL,
    ),
    "it is a child in another trace, and follows from the call in": (
        [follows("1", "b", "CHILD_OF"), follows("1")],
        Word.WHOLE,
    ),
}


@pytest.mark.parametrize("what", REFERENCES)
def test_a_call_out_that_follows_from_a_call_in_continues_it_within_a_trace_alone(what: str) -> None:
    references, word = REFERENCES[what]
    spans = [one | {"processID": "p"} for one in (CALL_IN, CALL_OUT | {"references": references})]
    (found,) = audit(spans_of({"data": [{"spans": spans, "processes": {"p": {"serviceName": "cart"}}}]})).services
    assert (found.verdict, found.calls_out) == (word, 1)


@pytest.mark.parametrize(("linked", "word"), [(True, Word.WHOLE), (False, Word.CANNOT_TELL)])
def test_calls_out_of_a_batch_that_links_to_the_traces_of_its_messages_continue_them(linked: bool, word: Word) -> None:
    batch = make("b" * 32, "3" * 16, "", "cart", "process", "internal", BEGIN, BEGIN + 9 * MS)
    batch = replace(batch, links=((T, "1" * 16),) if linked else ())
    out = make("b" * 32, "4" * 16, "3" * 16, "cart", "Get", "client", BEGIN + MS, BEGIN + 2 * MS)
    kept = [span for one in (batch, out) for span in spans_of(json.loads(line(one)))]
    (found,) = audit(kept).services
    assert (found.verdict, found.calls_out) == (word, 1)


@pytest.mark.parametrize(("linked", "begun"), [(True, 0), (False, 1)])
def test_a_consumer_that_links_to_the_producers_trace_does_not_begin_one(linked: bool, begun: int) -> None:
    taken = make("b" * 32, "3" * 16, "", "cart", "process", "consumer", BEGIN, BEGIN + 9 * MS)
    ledger = Ledger()
    ledger.take([replace(taken, links=((T, "1" * 16),) if linked else ())])
    ledger.close()
    (outs,) = ledger.outs.values()
    assert (outs.begun, outs.whole.total()) == (begun, 1 - begun)


def test_links_are_read_from_the_answers_of_jaeger_and_of_otlp() -> None:
    other = "c" * 32
    entered = CALL_IN | {"processID": "p", "references": [follows("7", other), follows("8")]}
    (read,) = spans_of({"data": [{"spans": [entered], "processes": {"p": {"serviceName": "cart"}}}]})
    assert read.links == ((other, "7".zfill(16)),)
    body = otlp.parse_json(line(read).encode())
    assert [span.links for span in otlp.spans_of(body.resource_spans)] == [read.links]


def test_a_link_of_otlp_is_no_parent() -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    entered = {"traceId": T, "spanId": "1" * 16, "kind": 2, "startTimeUnixNano": "1", "endTimeUnixNano": "9"}
    out = {"traceId": "b" * 32, "spanId": "2" * 16, "kind": 3, "startTimeUnixNano": "2", "endTimeUnixNano": "3"}
    out |= {"links": [{"traceId": T, "spanId": "1" * 16}]}
    group = {"resource": resource, "scopeSpans": [{"spans": [entered, out]}]}
    (found,) = audit(spans_of({"resourceSpans": [group]})).services
    assert (found.verdict, found.begun) == (Word.CANNOT_TELL, 1)


def test_orphans_are_a_problem_with_its_rule() -> None:
    (problem,) = audit([server(f"{n}", "f", f"{n:032x}") for n in range(1, 9)]).problems
    assert (problem.cause, problem.service) == ("missing-parent", "cart")
    assert "SPA-002" in problem.evidence


def test_ten_thousand_services_are_judged() -> None:
    spans = [make(f"{n:032x}", "1", "", f"s{n}", "Get", "server", BEGIN, BEGIN + MS) for n in range(10_000)]
    assert len(audit(spans).services) == 10_000


def test_memory_holds_the_open_traces_alone() -> None:
    ledger = Ledger(_open=OpenTraces(limit=100))
    for span in Traffic().spans():
        ledger.take([span])
        assert ledger._open._held <= 100
    ledger.close()
    assert judge(ledger).verdict == "whole"
