"""What the evidence says of a call, held against chains whose truth is known: mistake x place x mesh x store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.call.outcome import Outcome
from client.call.verdict import CONNECTED, Judgement, Question, judge
from grpc_tracing.evidence.links import Context
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import HopRecord
from grpc_tracing.evidence.seen import Seen
from grpc_tracing.headers.families import CARRIERS
from tests.client.evidence import answer
from tests.evidence.meshes import REQUEST_ID, SERVICES, Mesh, Played
from tests.evidence.mistakes import MISTAKES, Mistake, changing, dropping, good

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

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


# One sampled context in each family, by the header that carries its trace id.
FAMILIES: dict[str, dict[str, str]] = {
    "traceparent": {"traceparent": f"00-{TRACE}-{SPAN}-01"},
    "b3": {"b3": f"{TRACE}-{SPAN}-1"},
    "x-b3-traceid": {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
    "sw8": {"sw8": "1-dHJhY2U=-c2VnbWVudA==-3-c3ZjMQ==-aW5zdGFuY2U=-L2E=-bG9jYWxob3N0"},
    "x-datadog-trace-id": {"x-datadog-trace-id": "1234567890123", "x-datadog-parent-id": "7"},
    "x-cloud-trace-context": {"x-cloud-trace-context": f"{TRACE}/1;o=1"},
    "x-amzn-trace-id": {"x-amzn-trace-id": f"Sampled=1;Root=1-{TRACE[:8]}-{TRACE[8:]}"},
    "uber-trace-id": {"uber-trace-id": f"{TRACE}:{SPAN}:0:1"},
}
FORGED: dict[str, Callable[[HopRecord], HopRecord]] = {
    "as it is": lambda record: record,
    "of another trace": lambda record: replace(record, trace_id="e" * 32),
    "without headers": lambda record: replace(record, headers=()),
    "without a trace": lambda record: replace(record, trace_id=""),
    "of another hop": lambda record: replace(record, service="svc9"),
    "of a hop that called nobody": lambda record: replace(record, later_us=0),
    "shortened": lambda record: replace(record, headers=(), shortened=True),
}


def test_every_carrier_has_its_family_here() -> None:
    assert FAMILIES.keys() == set(CARRIERS)


@given(
    key=st.sampled_from(sorted(FAMILIES)),
    place=st.sampled_from(["svc1", "svc2"]),
    what=st.sampled_from(["lost", "duplicated", "emptied", "halved", "another"]),
    silent=st.frozensets(st.sampled_from(SERVICES)),
    order=st.permutations([0, 1, 2]),
    missing=st.frozensets(st.sampled_from([0, 1, 2])),
    forged=st.lists(st.sampled_from(sorted(FORGED)), min_size=3, max_size=3),
)
def test_any_familys_header_that_goes_wrong_is_never_connected_whatever_the_records_say(  # noqa: PLR0917 - by name
    key: str,
    place: str,
    what: str,
    silent: frozenset[str],
    order: list[int],
    missing: frozenset[int],
    forged: list[str],
) -> None:
    begun = tuple(FAMILIES[key].items())
    played = Mesh("none", {place: _wrong(key, what)}, silent, begun=begun).call()
    left = [played.records[n] for n in order if n < len(played.records) and n not in missing]
    records = tuple(FORGED[how](record) for how, record in zip(forged, left, strict=False))
    judgement = judged(Played(played.sent, records, (), played.whole), store=False)
    if judgement.verdict == CONNECTED:
        # Nothing after svc2 shows what it sent on: the word goes as far as svc2, and says so.
        assert place == "svc2"
        assert "connected as far as svc2: svc3 has nothing to forward" in judgement.notes


def _wrong(key: str, what: str) -> Mistake:
    return {
        "lost": dropping(key),
        "duplicated": lambda received: (*good(received), *(pair for pair in good(received) if pair[0] == key)),
        "emptied": changing(key, lambda _: ""),
        "upper case": changing(key, lambda v: f"{v[:-1]}A"),
        "halved": changing(key, lambda v: v[: len(v) // 2]),
        "another": changing(key, _another),
    }[what]


def _another(value: str) -> str:
    """The same with another trace id."""
    if value == "1":
        return "0"
    other = value.replace("dHJhY2U=", "b3RoZXI=").replace(TRACE, TRACE[::-1]).replace(TRACE[8:], TRACE[:7:-1])
    return other if other != value else value[::-1]
