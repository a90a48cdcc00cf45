"""The pieces of one call sewn together, on spans written down as tables."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from grpc_tracing.audit.result import Audit, Route, Service, Word
from grpc_tracing.spans.model import Kind, Span
from grpc_tracing.spans.tree import Trace, assemble
from grpc_tracing.store.calls import Call, parse_call
from grpc_tracing.store.seam import By, Known, Sewn, sew
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.suspects import Suspect, Suspects, suspects
from grpc_tracing.store.views_call import MOST_PIECES, MOST_SPANS, chosen
from tests.spans.test_tree import CHAIN, span

C, S = Kind.CLIENT, Kind.SERVER
A, B, D = "a" * 32, "b" * 32, "d" * 32
UPPER, LOWER = CHAIN[:5], (span("f", "", "svc2", C, 30, 40), CHAIN[6])
FORWARDED = {"key": "traceparent", "value": f"00-{A}-{'1' * 16}-01", "fate": "forwarded"}
NOTE = parse_call(
    {
        "verdict": "broken",
        "trace_ids": [A, B],
        "hops": [
            {"service": "svc1", "record": "whole", "headers": [FORWARDED]},
            {"service": "svc2", "record": "whole", "headers": [FORWARDED | {"fate": "switched_off"}]},
            {"service": "svc3", "record": "unknown"},
        ],
    }
)


def trace(trace_id: str, spans: Iterable[Span], request: str = "") -> Trace:
    attributes = (("guid:x-request-id", request),) if request else ()
    return assemble(replace(one, trace_id=trace_id, attributes=attributes) for one in spans)


def shape(whole: Sewn) -> list[tuple[str, int, int]]:
    return [(bar.span.span_id, bar.depth, bar.piece) for bar in whole.bars]


TOGETHER = [*((key, depth, 1) for depth, key in enumerate("abcde")), ("f", 5, 2), ("g", 6, 2)]


def test_the_rest_hangs_below_the_call_in_that_bears_its_request_id() -> None:
    whole = sew((trace(A, UPPER, "r"), trace(B, LOWER, "r")), Known())
    assert whole
    assert shape(whole) == TOGETHER
    (seam,) = whole.seams
    assert (seam.node, seam.before, seam.after, seam.by) == ("svc2", A, B, (By.REQUEST_ID,))
    assert seam.says.startswith("svc2 forwarded x-request-id, and not the headers that its sidecar reads")
    assert seam.shows == (f"the call into svc2 in trace {A[:8]} and the call out in {B[:8]} both bear r",)
    assert whole.duration_ns == 100
    assert [bar.seam is not None for bar in whole.bars] == [False] * 5 + [True, False]


def test_the_record_names_the_header_that_was_not_forwarded() -> None:
    whole = sew((trace(B, LOWER), trace(A, UPPER)), Known(NOTE))
    assert whole
    assert shape(whole) == TOGETHER
    (seam,) = whole.seams
    assert seam.by == (By.RECORDS,)
    assert seam.lost == (("traceparent", "switched off: its propagation is set to none"),)
    assert seam.says == (
        "svc2 received traceparent and did not forward it (switched off: its propagation is set to none)"
    )


def test_nothing_joins_pieces_that_share_neither_id_nor_note() -> None:
    assert sew((trace(A, UPPER, "r"), trace(B, LOWER, "s")), Known()) is None
    assert sew((trace(A, UPPER), trace(B, LOWER)), Known(replace(NOTE, trace_ids=(A,)))) is None


def test_two_whole_traces_of_one_request_id_are_not_sewn() -> None:
    assert sew((trace(A, CHAIN, "r"), trace(B, CHAIN, "r")), Known()) is None


def test_of_two_calls_in_with_the_id_the_one_that_was_under_way_has_the_rest() -> None:
    early = (span("x", "", "svc2", S, 0, 5), span("y", "", "svc2", S, 28, 60), span("z", "", "svc2", S, 29, 0))
    whole = sew((trace(A, early, "r"), trace(B, LOWER, "r")), Known())
    assert whole
    assert shape(whole)[1:3] == [("y", 0, 1), ("f", 1, 2)]


def test_a_call_torn_twice_is_one_waterfall_with_two_seams() -> None:
    third = (span("g", "", "svc3", C, 36, 10), span("h", "g", "svc4", S, 37, 5))
    pieces = (trace(A, UPPER, "r"), trace(B, LOWER, "r"), trace(D, third, "r"))
    whole = sew(pieces, Known())
    assert whole
    assert [(seam.node, seam.before, seam.after) for seam in whole.seams] == [("svc2", A, B), ("svc3", B, D)]
    assert [bar.depth for bar in whole.bars] == list(range(9))


def test_an_sdk_that_reads_no_parent_is_sewn_below_its_sidecar_and_the_fix_says_so() -> None:
    sdk = (span("f", "", "svc2", S, 30, 40),)
    whole = sew((trace(A, UPPER), trace(B, sdk)), Known(replace(NOTE, hops=())))
    assert whole
    (seam,) = whole.seams
    assert seam.says == f"svc2's SDK read no parent from the metadata: trace {B[:8]} began"
    assert "reads no parent" in seam.fix.says
    assert [one.name for one in seam.fix.languages] == ["Python", "Java", "Go", "Node.js"]


def test_the_language_that_its_spans_name_stands_first() -> None:
    resource = (("telemetry.sdk.language", "go"),)
    upper = (*UPPER[:4], replace(UPPER[4], resource=resource))
    whole = sew((trace(A, upper), trace(B, (replace(LOWER[0], service="svc2.grpc-tracing"), LOWER[1]))), Known(NOTE))
    assert whole
    assert whole.seams[0].fix.known == ("Go",)
    assert whole.seams[0].fix.languages[0].name == "Go"


def test_a_piece_that_nothing_places_is_named() -> None:
    other = (span("q", "", "svc9", C, 30, 1),)
    whole = sew((trace(A, UPPER, "r"), trace(B, LOWER, "r"), trace(D, other, "r")), Known())
    assert whole
    assert (whole.pieces, whole.apart) == ((A, B), (D,))


def test_time_joins_only_what_the_audit_vouches_for() -> None:
    pieces = (trace(A, UPPER), trace(B, LOWER))
    pair = Suspect(A, B, 25, "no other call was in")
    whole = sew(pieces, Known(suspects=(pair,)))
    assert whole
    assert (whole.seams[0].by, whole.seams[0].shows) == ((By.TIME,), ("no other call was in",))
    assert (
        whole.seams[0].says == f"svc2's SDK lost the context between the call in and the call out: trace {B[:8]} began"
    )
    assert sew(pieces, Known(suspects=(pair._replace(entered_ns=24),))) is None


CUTS = Service("svc2", Word.CUTS, z=25.1, routes=(Route("n", "n", 9, 9, Word.CUTS),))


def audit(*services: Service) -> Audit:
    return Audit(0, 0, (0, 0), None, services)


def held(trace_id: str, spans: Iterable[Span]) -> Summary:
    return summarize(trace(trace_id, spans))


def test_one_call_in_alone_at_that_time_is_suspected_from_both_sides() -> None:
    upper, lower = held(A, UPPER), held(B, LOWER)
    for own in (upper, lower):
        found = suspects(own, (upper, lower), audit(CUTS))
        ((above, below, entered, said),) = found.sure
        assert (above, below, entered, found.doubtful) == (A, B, 25, ())
        assert "z 25.1" in said


@pytest.mark.parametrize(
    "service",
    [
        replace(CUTS, routes=(Route("n", "n", 9, 0, Word.WHOLE),)),
        replace(CUTS, z=None),
        replace(CUTS, service="svc1"),
        replace(CUTS, routes=(Route("other.Rpc", "n", 9, 9, Word.CUTS),)),
    ],
    ids=["it does not cut", "no z", "another service", "another RPC"],
)
def test_without_the_audits_word_nobody_is_suspected(service: Service) -> None:
    upper, lower = held(A, UPPER), held(B, LOWER)
    assert suspects(upper, (upper, lower), audit(service)) == Suspects()


def test_beside_another_call_in_both_are_doubtful_and_none_is_sewn() -> None:
    upper, lower, beside = held(A, UPPER), held(B, LOWER), held(D, UPPER)
    every = (upper, lower, beside)
    found = suspects(upper, every, audit(CUTS))
    assert found.sure == ()
    assert [one.trace_id for one in found.doubtful] == [B]
    assert found.doubtful[0].said == "one of 2 calls that were in at svc2 when svc2 began it"
    assert [one.trace_id for one in suspects(lower, every, audit(CUTS)).doubtful] == [A, D]


def test_too_many_pieces_and_too_many_spans_are_left_out_and_counted() -> None:
    own = held(A, UPPER)
    ids, left_out = chosen(own, [replace(own, trace_id=f"{number:032x}") for number in range(30)])
    assert (len(ids), ids[0], left_out) == (MOST_PIECES, A, 11)
    assert chosen(own, [replace(own, trace_id=B, spans=MOST_SPANS), replace(own, trace_id=D)]) == ((A, D), 1)


def test_a_note_without_hops_joins_too() -> None:
    call = Call("", (A, B), "Talk", "broken", (), ())
    whole = sew((trace(A, UPPER), trace(B, LOWER)), Known(call))
    assert whole
    assert whole.seams[0].by == (By.NOTE,)


def test_two_pieces_that_each_could_hold_the_other_end_in_no_circle() -> None:
    one = (span("p", "", "svc1", C, 0, 90), span("q", "p", "svc2", S, 1, 80))
    other = (span("r", "", "svc2", C, 5, 70), span("s", "r", "svc1", S, 6, 60))
    whole = sew((trace(A, one, "r"), trace(B, other, "r")), Known())
    assert whole
    assert len(whole.bars) == 4
    assert len(whole.seams) == 1


def test_a_call_in_that_goes_on_itself_makes_no_pair_doubtful() -> None:
    upper, lower, goes_on = held(A, UPPER), held(B, LOWER), held(D, CHAIN)
    found = suspects(upper, (upper, lower, goes_on), audit(CUTS))
    assert [(one.above, one.below) for one in found.sure] == [(A, B)]
