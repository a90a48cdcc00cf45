"""A call as the trace backend shows it, as tables of spans."""

from dataclasses import replace

import pytest

from grpc_tracing.evidence.picture import Picture, folded
from grpc_tracing.spans.model import Span
from tests.support.spans import make

EXPECTED = ("svc1", "svc2", "svc3")
T, U = "a" * 32, "b" * 32


def span(name: str, service: str, parent: str = "", trace: str = T, kind: str = "server", **more: int) -> Span:
    """A span whose id is its name; it starts in the order of the names."""
    start = more.get("start", ord(name[0]))
    return make(trace, name, parent, service, "/hello.LandingService/Talk", kind, start, start + 1_000_000)


MESH = (
    span("a", "requester", kind="client"),
    span("b", "ingress", "a"),
    span("c", "ingress", "b", kind="client"),
    span("d", "svc1", "c"),
    span("e", "svc1", "d", kind="client"),
    span("f", "svc2", "e"),
    span("g", "svc2", "f", kind="client"),
    span("h", "svc3", "g"),
)
EDGES = [("requester", "ingress"), ("ingress", "svc1"), ("svc1", "svc2"), ("svc2", "svc3")]


def renamed(*names: tuple[str, str]) -> tuple[Span, ...]:
    to = dict(names)
    return tuple(replace(one, service=to.get(one.service, one.service)) for one in MESH)


WHOLE = {
    "the local mesh": MESH,
    "spans in any order": MESH[::-1],
    "Istio's names": renamed(*((f"svc{n}", f"grpc-server-svc{n}.grpc-tracing") for n in (1, 2, 3))),
    "names with a namespace": renamed(*((f"svc{n}", f"svc{n}.grpc-tracing") for n in (1, 2, 3))),
    "a gateway by another name": renamed(("ingress", "istio-ingressgateway.istio-system")),
    "no ingress": (*MESH[:1], span("d", "svc1", "a"), *MESH[4:]),
}


@pytest.mark.parametrize("spans", WHOLE.values(), ids=WHOLE)
def test_a_whole_trace_has_its_edges_and_no_problem(spans: tuple[Span, ...]) -> None:
    picture = Picture(spans, EXPECTED, sent="a", exported=True)
    edges = EDGES if len(spans) == len(MESH) else [("requester", "svc1"), *EDGES[2:]]
    assert (picture.edges, list(picture.problems(1)), picture.deepest) == (edges, [], "svc3")


def test_without_a_root_span_of_the_requesters_the_ingress_begins_it() -> None:
    spans = (span("b", "ingress"), *MESH[2:])
    picture = Picture(spans, EXPECTED)
    assert (picture.edges, list(picture.problems(1))) == (EDGES[1:], [])


def test_a_parent_that_nobody_exports_is_no_gap_when_the_requester_sent_it() -> None:
    assert Picture(MESH[1:], EXPECTED, sent="a", exported=False).unbroken
    assert not Picture(MESH[1:], EXPECTED, sent="a", exported=True).unbroken


def test_calls_in_one_trace_of_the_users_are_no_roots_of_their_own() -> None:
    other = [Span(**{**vars(one), "span_id": one.span_id.upper(), "parent_id": one.parent_id.upper()}) for one in MESH]
    spans = (*MESH[1:], span("B", "ingress", "a"), *other[2:])
    assert list(Picture(spans, EXPECTED, sent="a").problems(1)) == []


PROBLEMS: dict[str, tuple[tuple[Span, ...], list[str]]] = {
    "no span": ((), ["the trace store holds no span of this call"]),
    "a lost span in the middle": (
        (*MESH[:5], *MESH[6:]),
        ["the trace store lacks the parent f of a span", "the trace store shows no call svc1 > svc2"],
    ),
    "a lost end": (MESH[:7], ["the trace store shows no call svc2 > svc3"]),
    "two roots": (
        (*MESH[:5], span("f", "svc2"), *MESH[6:]),
        ["the trace has 2 roots (requester, svc2), expected 1", "the trace store shows no call svc1 > svc2"],
    ),
    "the requester's root alone": (
        MESH[:1],
        ["the trace store shows no call requester > ingress, ingress > svc1, svc1 > svc2, svc2 > svc3"],
    ),
    "the requester's root lost": (
        MESH[1:],
        ["the trace store lacks the parent a of a span", "the trace store shows no call requester > ingress"],
    ),
}


@pytest.mark.parametrize(("spans", "problems"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_is_named_with(spans: tuple[Span, ...], problems: list[str]) -> None:
    assert list(Picture(spans, EXPECTED, sent="a", exported=True).problems(1)) == problems


def test_the_pieces_of_a_broken_trace_have_a_root_each() -> None:
    pieces = (*MESH[:6], span("g", "svc2", trace=U, kind="client"), span("h", "svc3", "g", trace=U))
    picture = Picture(pieces, EXPECTED, sent="a", exported=True)
    assert list(picture.problems(2)) == []
    assert [one.span_id for one in picture.tops()] == ["a", "g"]
    assert [depth for depth, _ in picture.tree()] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_spans_in_a_circle_hang_nothing() -> None:
    circle = (span("a", "svc1", "b"), span("b", "svc1", "a"))
    told = next(Picture(circle, EXPECTED).problems(1))
    assert told == "the trace has 0 roots (its spans stand in a circle), expected 1"


@pytest.mark.parametrize("turned", [False, True])
def test_zipkins_shared_ids_stand_below_the_caller(turned: bool) -> None:
    shared = [span("a", "svc1", kind="client"), span("a", "svc2", start=98)]
    below = span("c", "svc3", "a")
    picture = Picture((*(shared[::-1] if turned else shared), below), EXPECTED)
    assert picture.edges == [("svc2", "svc3")]


def test_what_lies_between_the_services_keeps_its_name() -> None:
    spans = (span("b", "gateway"), span("d", "svc1", "b"), span("e", "waypoint", "d"), span("f", "svc2", "e"))
    assert Picture(spans, EXPECTED).edges == [("ingress", "svc1"), ("svc1", "waypoint"), ("waypoint", "svc2")]


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("svc1", "svc1"),
        ("grpc-server-svc1", "svc1"),
        ("svc1.any-namespace", "svc1"),
        ("grpc-server-svc2.grpc-tracing", "svc2"),
        ("svc11", "svc11"),
        ("my-svc1", "my-svc1"),
        ("svc1.a.b", "svc1.a.b"),
    ],
)
def test_a_service_name_folds_to(service: str, name: str) -> None:
    assert folded(service, EXPECTED) == name
