"""A call as the trace backend shows it, as tables of spans."""

from dataclasses import replace

import pytest

from grpc_tracing.evidence.picture import Picture, folded
from grpc_tracing.evidence.seen import Seen
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
    picture = Picture(spans, EXPECTED, sent="a", exported=True, prefix="grpc-server-")
    edges = EDGES if len(spans) == len(MESH) else [("requester", "svc1"), *EDGES[2:]]
    assert (picture.edges, problems(picture), picture.deepest) == (edges, [], "svc3")


def test_without_a_root_span_of_the_requesters_the_ingress_begins_it() -> None:
    spans = (span("b", "ingress"), *MESH[2:])
    picture = Picture(spans, EXPECTED)
    assert (picture.edges, problems(picture)) == (EDGES[1:], [])


def test_a_parent_that_nobody_exports_is_no_gap_when_the_requester_sent_it() -> None:
    assert Picture(MESH[1:], EXPECTED, sent="a", exported=False).unbroken
    assert not Picture(MESH[1:], EXPECTED, sent="a", exported=True).unbroken


PROBLEMS: dict[str, tuple[tuple[Span, ...], list[str]]] = {
    "no span": ((), ["no-spans"]),
    "a lost span in the middle": ((*MESH[:5], *MESH[6:]), ["spans-late"]),
    "a lost end": (MESH[:7], ["spans-missing"]),
    "a hop that called nobody": (MESH[:6], ["no-call-made"]),
    "two roots": ((*MESH[:5], span("f", "svc2"), *MESH[6:]), ["several-roots"]),
    "the requester's root lost": (MESH[1:], ["spans-late"]),
    "a parent inside a hop that nobody exported": (
        (*MESH[:6], span("g", "svc2", "x", kind="client"), MESH[7]),
        ["spans-not-exported"],
    ),
    "a new trace at a hop's call": (
        (*MESH[:6], span("g", "svc2", trace=U, kind="client"), span("h", "svc3", "g", trace=U)),
        ["no-header-forwarded"],
    ),
    "a new trace on the way": ((*MESH[:7], span("h", "svc3", trace=U)), ["new-trace"]),
    "other names": (
        tuple(replace(one, service=f"shop-{one.service}") for one in MESH),
        ["other-names"],
    ),
}


def problems(picture: Picture) -> list[str]:
    """The causes that the spans show, each once."""
    return list(dict.fromkeys(one.cause.name for link in Seen(picture).links() for one in link.findings))


@pytest.mark.parametrize(("spans", "causes"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_is_named_with(spans: tuple[Span, ...], causes: list[str]) -> None:
    assert problems(Picture(spans, EXPECTED, sent="a", exported=True))[:1] == causes


WHOLE_ALL_THE_SAME: dict[str, tuple[Span, ...]] = {
    "a sidecar that makes no span": (*MESH[:5], span("f", "svc2", "e"), span("h", "svc3", "f")),
    "a service without any span": (*MESH[:5], span("h", "svc3", "e")),
    "a retry": (*MESH, span("i", "svc2", "d", kind="client"), span("j", "svc3", "i")),
    "a gateway of two spans": MESH,
    "a waypoint between": (
        *MESH[:5],
        span("x", "waypoint.ns.svc.cluster.local", "e"),
        span("f", "svc2", "x"),
        *MESH[6:],
    ),
    "an SDK's spans inside": (*MESH[:6], span("s", "svc2", "f", kind="internal"), span("g", "svc2", "s"), MESH[7]),
    "re-timed by a collector": tuple(replace(one, start_ns=5, end_ns=5) for one in MESH),
    "names with namespace and domain": renamed(("svc1", "svc1.ns.svc.cluster.local"), ("svc2", "prod/svc2")),
}


@pytest.mark.parametrize("spans", WHOLE_ALL_THE_SAME.values(), ids=WHOLE_ALL_THE_SAME)
def test_it_is_whole_all_the_same(spans: tuple[Span, ...]) -> None:
    assert problems(Picture(spans, EXPECTED, sent="a", exported=True)) == []


def test_the_pieces_of_a_broken_trace_have_a_root_each() -> None:
    pieces = (*MESH[:6], span("g", "svc2", trace=U, kind="client"), span("h", "svc3", "g", trace=U))
    picture = Picture(pieces, EXPECTED, sent="a", exported=True)
    assert [one.span_id for one in picture.tops()] == ["a", "g"]
    assert [depth for depth, _ in picture.tree()] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_spans_in_a_circle_hang_nothing_and_prove_nothing() -> None:
    circle = (span("a", "svc1", "b"), span("b", "svc1", "a"))
    assert all(link.holds is not True for link in Seen(Picture(circle, EXPECTED)).links()[1:])


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
        ("svc1.a.svc.cluster.local", "svc1"),
        ("prod/svc1", "svc1"),
        ("my-svc1.a", "my-svc1.a"),
    ],
)
def test_a_service_name_folds_to(service: str, name: str) -> None:
    assert folded(service, EXPECTED, "grpc-server-") == name
