"""From the spans of calls to their cuts, on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grpc_tracing.audit.facts import fact
from grpc_tracing.probe.calls import Call
from grpc_tracing.probe.judge import Before, Evidence, Expected, judge, suspects
from grpc_tracing.probe.result import Check
from grpc_tracing.spans.model import Span
from tests.support.spans import make

MS = 1_000_000
T = 1_700_000_000_000_000_000
CALLER = "c" * 16
NOTHING = Expected()


def span(  # noqa: PLR0917 - positions are the columns
    trace: str, number: int, parent: str, service: str, kind: str, start: float, end: float, **attributes: str
) -> Span:
    """Times in ms after T; the parent is a span's number, `caller`, or empty."""
    above = {"": "", "caller": CALLER}.get(parent, parent.zfill(16))
    begin, until = T + int(start * MS), T + int(end * MS)
    made = make(trace, f"{number:016}", above, service, "shop.Cart/Get", kind, begin, until, False, **attributes)
    return replace(made, resource=(("service.instance.id", f"{service}-1"),))


def a_call(trace: str = "a" * 32, at: float = 0, status: str = "OK") -> Call:
    return Call(
        trace_id=trace, span_id=CALLER, request_id=f"request of {trace[0]}", status=status, message="", answers=(b"",),
        stopped=False, began_ns=T + int(at * MS), ended_ns=T + int((at + 30) * MS),
    )  # fmt: skip


def whole(trace: str, at: float = 0) -> list[Span]:
    """a -> b -> c."""
    return [
        span(trace, 1, "caller", "a", "server", at, at + 30),
        span(trace, 2, "1", "a", "client", at + 1, at + 29, **{"peer.service": "b"}),
        span(trace, 3, "2", "b", "server", at + 2, at + 28),
        span(trace, 4, "3", "b", "client", at + 3, at + 27, **{"peer.service": "c"}),
        span(trace, 5, "4", "c", "server", at + 4, at + 26),
    ]


def cut_at_b(trace: str, piece: str, at: float = 0, request: str = "") -> tuple[list[Span], list[Span]]:
    """The call's own trace, and the piece that b began."""
    own = whole(trace, at)[:3]
    attributes = {"guid:x-request-id": request} if request else {}
    rest = [
        span(piece, 4, "", "b", "client", at + 3, at + 27, **{"peer.service": "c"}, **attributes),
        span(piece, 5, "4", "c", "server", at + 4, at + 26, **attributes),
    ]
    return own, rest


def judged(evidence: list[Evidence], before: Before = Before(), expected: Expected = NOTHING) -> Check:  # noqa: B008
    return Check("shop:1", "/shop.Cart/Get", *judge(evidence, before, expected))


def long_before(*services: str, seconds: int = 60) -> Before:
    return Before([], dict.fromkeys(services, T - seconds * 1000 * MS), T)


def jobs(target: str) -> list[Span]:
    """Ten in each of the seconds before."""
    return [
        span(f"{n:032}", 9, "", "b", "client", -n * 100, -n * 100 + 5, **{"peer.service": target}) for n in range(99)
    ]


def test_a_trace_that_hangs_below_what_was_sent_is_connected() -> None:
    check = judged([Evidence(a_call(), whole("a" * 32))], expected=Expected(("a", "b", "c")))
    assert (check.verdict, check.exit_code, check.cuts) == ("connected", 0, [])
    assert check.calls[0].edges == (("a", "b"), ("b", "c"))


def test_a_piece_that_bears_the_request_id_is_a_cut() -> None:
    call = a_call()
    own, rest = cut_at_b(call.trace_id, "d" * 32, request=call.request_id)
    check = judged([Evidence(call, own, rest)])
    (cut,) = check.cuts
    assert (check.verdict, cut.service, cut.target, cut.by, cut.chance) == ("broken", "b", "c", "request id", None)
    assert check.calls[0].pieces == ("d" * 32,)


def test_a_piece_in_the_time_of_the_call_is_a_cut_where_none_came_in_a_long_time_before() -> None:
    own, rest = cut_at_b("a" * 32, "d" * 32)
    check = judged([Evidence(a_call(), own, rest)], long_before("b"))
    (cut,) = check.cuts
    assert (check.verdict, cut.service, cut.by) == ("broken", "b", "time")
    assert cut.chance == pytest.approx(26e-3 / 60, rel=0.01)


def test_the_same_is_no_more_than_a_suspicion_where_nothing_is_known_of_the_time_before() -> None:
    own, rest = cut_at_b("a" * 32, "d" * 32)
    check = judged([Evidence(a_call(), own, rest)])
    assert (check.verdict, check.exit_code, check.cuts[0].certain) == ("unproven", 3, False)
    assert suspects([Evidence(a_call(), own, rest)]) == {"b"}


def test_the_same_is_no_more_than_a_suspicion_beside_a_job_that_often_calls_there() -> None:
    own, rest = cut_at_b("a" * 32, "d" * 32)
    job = [
        fact(span(f"{n:032}", 9, "", "b", "client", -n * 100, -n * 100 + 5, **{"peer.service": "c"})) for n in range(99)
    ]
    check = judged([Evidence(a_call(), own, rest)], replace(long_before("b"), roots=job))
    assert (check.verdict, check.cuts[0].certain) == ("unproven", False)


def test_a_job_beside_is_told_from_a_cut_by_its_target() -> None:
    own, rest = cut_at_b("a" * 32, "d" * 32)
    job = [
        fact(span(f"{n:032}", 9, "", "b", "client", -n * 100, -n * 100 + 5, **{"peer.service": "x"})) for n in range(99)
    ]
    check = judged([Evidence(a_call(), own, rest)], replace(long_before("b"), roots=job))
    assert check.verdict == "broken"


def test_ten_calls_that_each_hold_one_are_certain_whatever_came_before() -> None:
    evidence = []
    for number in range(10):
        call = a_call(f"{number:x}" * 32, at=number * 40)
        own, rest = cut_at_b(call.trace_id, f"{number:x}" * 31 + "f", at=number * 40)
        evidence.append(Evidence(call, own, rest))
    check = judged(evidence)
    (cut,) = check.cuts
    assert (check.verdict, cut.calls, cut.of) == ("broken", 10, 10)


@pytest.mark.parametrize(("calls", "holding", "certain"), [(2_000, 1_000, True), (10, 1, False)])
def test_a_share_of_many_calls_is_held_against_the_rate_of_the_time_before(
    calls: int, holding: int, certain: bool
) -> None:
    """A job that calls there ten times a second lies in a quarter of the calls, which take 26 ms at b."""
    evidence = []
    for number in range(calls):
        trace = f"{number + 1:032x}"
        own, rest = cut_at_b(trace, f"{number + 1:x}".rjust(32, "f"), at=number * 40)
        call = a_call(trace, at=number * 40)
        evidence.append(Evidence(call, own, rest) if number < holding else Evidence(call, whole(trace, at=number * 40)))
    check = judged(evidence, replace(long_before("b", seconds=10), roots=list(map(fact, jobs("c")))))
    (cut,) = check.cuts
    assert (cut.calls, cut.of, cut.certain) == (holding, calls, certain)


def test_two_calls_that_hold_none_and_one_that_does_prove_nothing() -> None:
    evidence = [Evidence(a_call(f"{n}" * 32, at=n * 40), whole(f"{n}" * 32, at=n * 40)) for n in range(2)]
    own, rest = cut_at_b("a" * 32, "d" * 32, at=200)
    check = judged([*evidence, Evidence(a_call(at=200), own, rest)])
    assert check.verdict == "unproven"


def test_another_calls_piece_is_not_ours() -> None:
    """Its root bears the request id of a call that came in with another trace."""
    own, rest = cut_at_b("a" * 32, "d" * 32, request="theirs")
    theirs = span("e" * 32, 1, "", "b", "server", 0, 28, **{"guid:x-request-id": "theirs"})
    check = judged([Evidence(a_call(), own, [*rest, theirs])], long_before("b"))
    assert (check.verdict, check.cuts) == ("connected", [])


def test_a_second_cut_below_the_first_is_found() -> None:
    own, rest = cut_at_b("a" * 32, "d" * 32)
    below = span("e" * 32, 7, "", "c", "client", 5, 20, **{"peer.service": "x"})
    check = judged([Evidence(a_call(), own, [*rest, below])], long_before("b", "c"))
    assert {(cut.service, cut.target) for cut in check.cuts} == {("b", "c"), ("c", "x")}


def test_a_trace_begun_anew_at_the_edge_blames_what_lies_before_it() -> None:
    call = a_call()
    edge = span("d" * 32, 1, "", "a", "server", 0, 30, **{"guid:x-request-id": call.request_id})
    check = judged([Evidence(call, [], [edge])])
    (cut,) = check.cuts
    assert (check.verdict, cut.service, cut.target) == ("broken", "", "a")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ([], "the backend has no span of trace"),
        ([*whole("a" * 32)[:2], whole("a" * 32)[3]], "names a parent"),
        ([*whole("a" * 32), span("a" * 32, 9, "", "x", "server", 1, 2)], "began spans without a parent"),
        (whole("a" * 32)[:3], "no span of c, which was expected"),
    ],
)
def test_what_was_not_seen_is_unproven(own: list[Span], said: str) -> None:
    check = judged([Evidence(a_call(), own)], expected=Expected(("a", "b", "c")))
    assert (check.verdict, check.exit_code) == ("unproven", 3)
    assert said in " ".join(check.calls[0].problems)


def test_another_way_than_the_expected_one_is_unproven() -> None:
    check = judged([Evidence(a_call(), whole("a" * 32))], expected=Expected((), (("a", "b"), ("x", "c"))))
    assert "c was not called by way of x" in " ".join(check.calls[0].problems)


def test_a_failed_call_is_failed_whatever_its_trace_says() -> None:
    check = judged([Evidence(a_call(status="UNAVAILABLE"), whole("a" * 32))])
    assert (check.verdict, check.exit_code) == ("failed", 1)
