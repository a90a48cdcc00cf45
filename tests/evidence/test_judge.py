"""What the evidence says of a call, held against chains whose truth is known: mistake x place x mesh x store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.call.outcome import Outcome
from client.call.verdict import Judgement, Question, judge
from grpc_tracing.evidence.links import Context
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.seen import Seen
from tests.client.evidence import answer
from tests.evidence.meshes import REQUEST_ID, SERVICES, Mesh, Played
from tests.evidence.mistakes import MISTAKES, Mistake, changing, dropping, good

# Without sidecars there are no spans to read.
SETTINGS = [("none", False), ("w3c", False), ("w3c", True), ("b3", False), ("b3", True)]


def judged(played: Played, *, store: bool) -> Judgement:
    outcome = Outcome(
        rpc="Talk", asked=(0,), sent=played.sent, status="OK", responses=(answer(0),), hops=played.records
    )
    seen = None
    if store:
        reported = {played.records[n].trace_id for n in range(len(played.records))} | {
            str(dict(played.sent).get("x-b3-traceid", ""))
        }
        known = tuple(span for span in played.spans if span.trace_id in reported)
        pieces = tuple(
            span
            for span in played.spans
            if span.kind == "client" and not span.parent_id and span.trace_id not in reported
        )
        sent = str(dict(played.sent).get("x-b3-spanid", ""))
        picture = Picture(known, SERVICES, sent, exported=any(span.service == "requester" for span in known))
        seen = Seen(picture, pieces, request_ids=frozenset({REQUEST_ID}))
    return judge(outcome, Question(expected=SERVICES), Context(sent=played.sent), seen)


def case(
    mistake: Mistake, place: str, family: str, *, silent: frozenset[str] = frozenset(), root: bool = True
) -> Played:
    return Mesh(family, {place: mistake}, silent, root).call()


@pytest.mark.parametrize(("family", "store"), SETTINGS)
@pytest.mark.parametrize("place", ["svc1", "svc2"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_hop_without_a_record_is_never_connected(
    mistake: Mistake, place: str, family: str, store: bool
) -> None:
    played = case(mistake, place, family, silent=frozenset({place}))
    judgement = judged(played, store=store)
    if played.whole:
        assert judgement.verdict != "failed"
    else:
        assert judgement.verdict in {"broken", "unproven"}, judgement.links
        assert judgement.problems


@pytest.mark.parametrize("family", ["w3c", "b3"])
@pytest.mark.parametrize("place", ["svc1", "svc2"])
@pytest.mark.parametrize("mistake", ["forwards nothing", "an old call's headers"])
def test_what_is_torn_at_a_hop_without_a_record_names_it(mistake: str, place: str, family: str) -> None:
    played = case(MISTAKES[mistake], place, family, silent=frozenset(SERVICES[SERVICES.index(place) :]))
    judgement = judged(played, store=True)
    assert judgement.verdict != "connected"
    assert any(place in problem for problem in judgement.problems), judgement.problems


GOOD_SILENT: list[tuple[frozenset[str], bool, str]] = [
    (frozenset(), False, "connected"),
    (frozenset(), True, "connected"),
    (frozenset({"svc2"}), False, "connected"),
    (frozenset({"svc2"}), True, "connected"),
    (frozenset({"svc3"}), False, "connected"),
    (frozenset({"svc3"}), True, "connected"),
    (frozenset({"svc1"}), True, "connected"),
    (frozenset({"svc1"}), False, "connected"),
    (frozenset({"svc2", "svc3"}), False, "unproven"),
    (frozenset({"svc2", "svc3"}), True, "connected"),
    (frozenset(SERVICES), False, "unproven"),
    (frozenset(SERVICES), True, "connected"),
]


@pytest.mark.parametrize("family", ["w3c", "b3"])
@pytest.mark.parametrize(("silent", "store", "verdict"), GOOD_SILENT)
def test_a_chain_of_good_hops_is(silent: frozenset[str], store: bool, verdict: str, family: str) -> None:
    assert judged(case(good, "svc2", family, silent=silent), store=store).verdict == verdict


def test_a_silent_first_hop_is_unproven_where_nothing_was_sent() -> None:
    played = case(good, "svc2", "w3c", silent=frozenset({"svc1"}), root=False)
    judgement = judged(played, store=False)
    assert (judgement.verdict, [one.cause.name for one in judgement.findings]) == ("unproven", ["first-hop-unseen"])
    assert judged(played, store=True).verdict == "connected"


@given(
    place=st.sampled_from(["svc1", "svc2"]),
    key=st.sampled_from(["traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"]),
    what=st.sampled_from(["lost", "duplicated", "emptied", "upper case", "another"]),
    silent=st.frozensets(st.sampled_from(SERVICES)),
    shuffled=st.permutations([0, 1, 2]),
    cut=st.frozensets(st.sampled_from([0, 1, 2])),
)
def test_a_header_that_is_lost_changed_or_doubled_is_never_connected(  # noqa: PLR0917 - drawn by name
    place: str, key: str, what: str, silent: frozenset[str], shuffled: list[int], cut: frozenset[int]
) -> None:
    played = case(_wrong(key, what), place, "none", silent=silent)
    records = [played.records[n] for n in shuffled if n < len(played.records)]
    records = [record for n, record in enumerate(records) if n not in cut]
    changed = Played(played.sent, tuple(records), (), played.whole)
    judgement = judged(changed, store=False)
    # Another span id is what every tracer on the way writes.
    if (key, what) == ("x-b3-spanid", "another"):
        return
    # Nothing after svc2 shows what it sent on: the word goes as far as svc2, and says so.
    if place == "svc2" and judgement.verdict == "connected":
        assert "connected as far as svc2: svc3 has nothing to forward" in judgement.notes
    else:
        assert judgement.verdict != "connected"


def _wrong(key: str, what: str) -> Mistake:
    return {
        "lost": dropping(key),
        "duplicated": lambda received: (*good(received), *(pair for pair in good(received) if pair[0] == key)),
        "emptied": changing(key, lambda _: ""),
        "upper case": changing(key, lambda v: f"{v[:-1]}A"),
        "another": changing(key, lambda v: v[::-1] if v != "1" else "0"),
    }[what]
