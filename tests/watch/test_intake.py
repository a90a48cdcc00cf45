"""What the watch reads in OTLP's protobuf is what the audit reads in the same span."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.audit.live import batches
from bench.audit.shop import Scene, build
from grpc_tracing.audit.facts import fact
from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.watch.intake import facts_of
from grpc_tracing.watch.names import Names
from tests.audit.traffic import Traffic
from tests.support.spans import make
from tests.watch.support import request_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(**more: str) -> Span:
    return make(TRACE, "1" * 16, "2" * 16, "pay", "Charge", "client", 5, 9, False, **more)


SPANS: dict[str, list[Span]] = {
    "a sidecar's": list(Traffic(seconds=2).spans()),
    "an SDK's": list(Traffic(sdk=True, version="v41", seconds=2).spans()),
    "Istio's": [
        span(
            node_id="sidecar~10.1.1.1~pay-7d9fbcd67-x2abc.shop~shop.svc.cluster.local",
            **{
                "upstream_cluster.name": "outbound|9996||ledger.shop.svc.cluster.local;",
                "grpc.path": "/pay.Pay/Charge",
            },
        )
    ],
    "by a URL": [span(**{"http.url": "http://ledger:80/pay.Pay/Charge?x=1", "x-request-id": "7"})],
    "by RPC": [span(**{"rpc.service": "pay.Pay", "rpc.method": "Charge", "server.address": "ledger"})],
    "of each kind": [replace(span(), kind=kind) for kind in Kind],
    "with links": [replace(span(), links=(("f" * 32, "3" * 16),)), replace(span(), links=((TRACE, "3" * 16),))],
    "without a parent": [replace(span(), parent_id="")],
    "whose clock stepped back": [replace(span(), start_ns=9, end_ns=5)],
    "with a version as a tag": [span(**{"service.version": "v7"})],
    "with names too long": [span(**{"grpc.path": "/" + "x" * 1_000_000, "x-request-id": "y" * 1_000_000})],
}


@pytest.mark.parametrize("what", SPANS)
def test_a_span_is_read_as_the_audit_reads_it(what: str) -> None:
    request = request_of(SPANS[what])
    expected = [fact(one) for one in otlp.spans_of(request.resource_spans)]
    assert list(facts_of(request, Names())) == expected
    assert all(len(one.route) <= 200 and len(one.request_id) <= 200 for one in expected)


def test_a_span_without_legal_ids_is_none() -> None:
    request = request_of([span(), span()])
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"\0" * 16
    assert [one is None for one in facts_of(request, Names())] == [True, False]


@pytest.mark.full
def test_the_load_of_the_bench_says_what_the_simulated_shop_did() -> None:
    facts = build(Scene("small", services=12, cutters=2, jobs=2, rate=5, seconds=10), 3).facts
    sent = [
        one
        for batch in batches(facts)
        for one in facts_of(otlp.parse_protobuf(batch.at(7, 10**9)) if batch.spans else request_of([]), Names())
        if one
    ]
    known = {(one.span_id, one.kind): one for one in facts}
    assert len(sent) == len(facts)
    for one in sent:
        was = known[one.span_id, one.kind]
        assert one._replace(trace_id="", request_id="") == was._replace(
            trace_id="", request_id="", start=was.start + 10**9, end=was.end + 10**9
        )
    traces = {one.trace_id: known[one.span_id, one.kind].trace_id for one in sent}
    assert len(traces) == len(set(traces.values())), "as many traces, by other ids"
    assert not traces.keys() & set(traces.values())
