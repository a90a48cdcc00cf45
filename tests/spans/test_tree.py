"""The assembly of a trace, on spans written down as tables."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpc_tracing.spans.formats import otlp, zipkin
from grpc_tracing.spans.formats.otlp import read_chunk
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.names import fold
from grpc_tracing.spans.tree import Trace, assemble, edges, node
from grpc_tracing.store.summary import Top, summarize

C, S, I = Kind.CLIENT, Kind.SERVER, Kind.INTERNAL  # noqa: E741 - the table below is read by columns


def span(  # noqa: PLR0917 - positions are the columns of the tables below
    span_id: str,
    parent_id: str = "",
    service: str = "svc1",
    kind: Kind = I,
    at: int = 0,
    lasts: int = 10,
    error: bool = False,
    version: str = "",
    attributes: tuple[tuple[str, str], ...] = (),
) -> Span:
    return Span(
        trace_id="t" * 32,
        span_id=span_id,
        parent_id=parent_id,
        name="n",
        kind=kind,
        service=service,
        version=version,
        start_ns=at,
        end_ns=at + lasts,
        error=error,
        message="",
        attributes=attributes,
        resource=(),
        events=(),
    )


# The seven spans of a call through the mesh; times in nanoseconds.
CHAIN = (
    span("a", "", "requester", C, 0, 100),
    span("b", "a", "ingress", C, 10, 80),
    span("c", "b", "svc1", S, 15, 70),
    span("d", "c", "svc1", C, 20, 60),
    span("e", "d", "svc2.grpc-tracing", S, 25, 50),
    span("f", "e", "svc2", C, 30, 40),
    span("g", "f", "svc3.grpc-tracing", S, 35, 30),
)


def shape(trace: Trace) -> list[tuple[str, int, int | None]]:
    return [(row.span.span_id, row.depth, row.parent) for row in trace.rows]


def test_the_chain_is_one_piece_with_the_four_edges_whatever_the_order_it_came_in() -> None:
    for spans in (CHAIN, tuple(reversed(CHAIN)), CHAIN[3:] + CHAIN[:3], CHAIN + CHAIN):
        trace = assemble(spans)
        assert shape(trace) == [(s.span_id, i, i - 1 if i else None) for i, s in enumerate(CHAIN)]
        assert (trace.whole, trace.missing_parents, trace.duration_ns) == (True, (), 100)
        assert [(edge.caller, edge.callee) for edge in edges(trace)] == [
            ("requester", "ingress"),
            ("ingress", "svc1"),
            ("svc1", "svc2"),
            ("svc2", "svc3"),
        ]


def test_an_edge_lasts_as_long_as_its_caller_saw_and_owns_what_no_later_call_took() -> None:
    assert [(edge.callee, edge.duration_ns, edge.own_ns) for edge in edges(assemble(CHAIN))] == [
        ("ingress", 100, 20),
        ("svc1", 80, 20),
        ("svc2", 60, 20),
        ("svc3", 40, 40),
    ]


PIECES: list[tuple[str, tuple[Span, ...], list[str], tuple[str, ...]]] = [
    ("a cut without a parent", (*CHAIN[:5], span("f", "", "svc2", C, 30), CHAIN[6]), ["a", "f"], ()),
    ("a span that never came", CHAIN[:3] + CHAIN[4:], ["a", "e"], ("d",)),
    ("no root", CHAIN[1:], ["b"], ("a",)),
    ("two children of one missing span", (span("b", "a"), span("c", "a", at=1)), ["b", "c"], ("a",)),
    ("its own parent", (span("a", "a"),), ["a"], ()),
    ("a circle", (span("a", "b"), span("b", "a", at=1)), ["a"], ()),
    ("a circle beside a root", (span("r"), span("a", "b", at=1), span("b", "a", at=2)), ["r", "a"], ()),
]


@pytest.mark.parametrize(("spans", "tops", "missing"), [row[1:] for row in PIECES], ids=[row[0] for row in PIECES])
def test_what_is_not_whole_falls_into_pieces(
    spans: tuple[Span, ...], tops: list[str], missing: tuple[str, ...]
) -> None:
    trace = assemble(spans)
    assert [top.span_id for top in trace.tops] == tops
    assert trace.missing_parents == missing
    assert len(trace.rows) == len(spans)


def test_only_one_root_without_a_missing_parent_is_whole() -> None:
    assert [assemble(row[1]).whole for row in PIECES] == [False, False, False, False, True, True, False]


def test_a_zipkin_server_span_that_shares_its_id_stands_below_the_client_span() -> None:
    shared = (
        span("a", "", "svc1", S, 0),
        span("b", "a", "svc1", C, 1),
        span("b", "a", "svc2", S, 2),
        span("c", "b", "svc2", C, 3),
    )
    trace = assemble(shared)
    assert [(row.span.service, row.span.kind, row.parent) for row in trace.rows] == [
        ("svc1", S, None),
        ("svc1", C, 0),
        ("svc2", S, 1),
        ("svc2", C, 2),
    ]
    assert trace.whole


def test_siblings_stand_in_the_order_of_their_start() -> None:
    trace = assemble([span("r"), span("late", "r", at=9), span("early", "r", at=1), span("below", "late", at=10)])
    assert shape(trace) == [("r", 0, None), ("early", 1, 0), ("late", 1, 0), ("below", 2, 2)]


def test_a_callee_without_a_span_is_named_by_its_callers_cluster() -> None:
    cluster = "outbound|9996||svc2.grpc-tracing.svc.cluster.local;"
    trace = assemble(
        [*CHAIN[:3], span("d", "c", "svc1", C, 20, 60, error=True, attributes=(("upstream_cluster.name", cluster),))]
    )
    edge = edges(trace)[-1]
    assert (edge.path, edge.seen, edge.error) == (("requester", "ingress", "svc1", "svc2"), False, True)


def test_calls_that_overlap_leave_their_caller_no_time_of_its_own_and_none_below_zero() -> None:
    calls = [span(f"{number}", "b", "svc2", S, 1, 8) for number in range(2)]
    found = edges(assemble([span("a", "", "ingress", C, 0, 10), span("b", "a", "svc1", S, 0, 10), *calls]))
    assert [(edge.callee, edge.own_ns) for edge in found] == [("svc1", 0), ("svc2", 8), ("svc2", 8)]


def test_a_span_whose_clock_stepped_back_lasts_no_time() -> None:
    assert span("a", at=9, lasts=-4).duration_ns == 0


def test_a_canary_is_a_place_of_its_own() -> None:
    canary = span("g", "f", "svc3", S, 35, 30, version="canary")
    assert [edge.callee for edge in edges(assemble([*CHAIN[:6], canary]))][-1] == "svc3 canary"
    stable = span("g", "f", "svc3", S, 35, 30, version="v1")
    assert [edge.callee for edge in edges(assemble([*CHAIN[:6], stable]))][-1] == "svc3"


def test_a_version_that_only_a_zipkin_tag_tells_counts_too() -> None:
    """Envoy's Zipkin tracer has no resource attributes: the mesh gives them as tags."""
    tags = {"service.version": "canary"}
    told = {"traceId": "a1", "id": "b2", "localEndpoint": {"serviceName": "svc3"}, "tags": tags}
    ((chunk,), _) = otlp.split(zipkin.parse(json.dumps([told]).encode()))
    assert [node(one) for one in read_chunk(chunk.data)] == ["svc3 canary"]


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("svc1", "svc1"),
        ("svc1.grpc-tracing", "svc1"),
        ("grpc-server-svc1", "grpc-server-svc1"),
        ("grpc-server-svc1.grpc-tracing", "grpc-server-svc1"),
        ("istio-ingressgateway.istio-system", "ingress"),
        ("a.b.c", "a.b.c"),
        ("", ""),
        (".", "."),
    ],
)
def test_service_names_fold(name: str, folded: str) -> None:
    assert fold(name) == folded


def test_a_summary_says_what_the_lists_need() -> None:
    cut = (span("f", "", "svc2", C, 30, attributes=(("guid:x-request-id", "r1"), ("grpc.path", "/a.B/Talk"))), CHAIN[6])
    summary = summarize(assemble(cut))
    assert (summary.tops, summary.name, summary.spans) == ((Top("svc2", C, orphan=False),), "Talk", 2)
    assert (summary.services, summary.serves) == (("svc2", "svc3"), ("svc3",))
    assert summary.request_ids == ("r1",)


IDS = st.sampled_from("abcdef")
NO_KIND = {Kind.UNSPECIFIED, Kind.INTERNAL}  # reports without a kind complete those that have one
GRAPHS = st.lists(
    st.builds(span, IDS, st.sampled_from(["", *"abcdefgh"]), IDS, st.sampled_from(Kind), st.integers(0, 9)), min_size=1
)


@given(GRAPHS)
def test_any_heap_of_spans_makes_a_trace_in_which_each_stands_once_and_below_its_parent(spans: list[Span]) -> None:
    trace = assemble(spans)
    with_a_kind = {s.span_id for s in spans if s.kind not in NO_KIND}
    distinct = {(s.span_id, s.kind is S) for s in spans if s.kind not in NO_KIND or s.span_id not in with_a_kind}
    assert len(trace.rows) == len(distinct)
    assert {(row.span.span_id, row.span.kind is S) for row in trace.rows} == distinct
    for index, row in enumerate(trace.rows):
        if row.parent is not None:
            assert row.parent < index
            assert trace.rows[row.parent].depth == row.depth - 1
    assert all(edge.own_ns >= 0 and len(edge.path) > 1 for edge in summarize(trace).edges)


def test_ten_thousand_spans_one_below_the_other_are_assembled() -> None:
    deep = [span(f"{n:016x}", f"{n - 1:016x}" if n else "", at=n) for n in range(10_000)]
    assert assemble(deep).rows[-1].depth == 9_999


def test_calls_in_a_circle_make_no_path_as_long_as_the_trace() -> None:
    circle = [span(f"{at:x}", f"{at - 1:x}" if at else "", "ab"[at % 2], S, at) for at in range(1000)]
    assert max(len(edge.path) for edge in edges(assemble(circle))) == 64
