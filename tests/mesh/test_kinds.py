"""Each kind of mistake at svc1 and at svc2, behind real sidecars of either tracer: what the verdict says of it.

A cell is a cause that has to be told, in the verdict `broken`; `?` before it makes that `unproven`; `whole` is
`connected`; `.` is not played, for what the mistake changes is not there: without --otlp nobody sends B3 in a mesh that
speaks W3C, and gRPC's core sends traceparent once.

Whole are also values that a sidecar reads and writes anew before anybody else sees them: Envoy's OpenTelemetry tracer
takes version ff and upper case, its Zipkin tracer reads B3 first and traceparent no more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from client.call import run as call
from client.call.verdict import BROKEN, CONNECTED, UNPROVEN
from tests.client.run import judged, judged_beside
from tests.evidence.mistakes import MISTAKES
from tests.mesh.support import Mesh, mesh
from tests.mesh.told_hop import EVERY_OTHER, PREVIOUS, STREAMS_ONLY, WHOLE
from tests.support.cells import cells

WAIT = "10s"
AT_ONCE = 4
IN_SEVERAL_CALLS = (PREVIOUS, STREAMS_ONLY, EVERY_OTHER)

# The columns: W3C by records alone, W3C with the store, B3 by records alone, B3 with the store.
AT_SVC1 = """
nothing                              | ?first-hop-unseen     | whole                 | ?first-hop-unseen  | whole
answers by itself                    | ?no-records           | ?no-call-made         | ?no-records        | ?no-call-made
calls around the sidecars            | around-the-sidecar    | around-the-sidecar    | around-the-sidecar | around-the-sidecar
the headers of the call before       | ?first-hop-unseen     | another-calls-headers | ?first-hop-unseen  | new-trace
forwards nothing in streams          | ?first-hop-unseen     | new-trace             | ?first-hop-unseen  | new-trace
forwards nothing in every other call | ?first-hop-unseen     | new-trace             | ?first-hop-unseen  | new-trace
a span of its own that nobody exports| ?first-hop-unseen     | spans-not-exported    | ?first-hop-unseen  | spans-not-exported
calls twice                          | ?first-hop-unseen     | whole                 | ?first-hop-unseen  | whole
forwards nothing                     | ?first-hop-unseen     | new-trace             | ?first-hop-unseen  | new-trace
forwards x-request-id alone          | ?first-hop-unseen     | new-trace             | ?first-hop-unseen  | new-trace
forwards B3 alone                    | ?first-hop-unseen     | one-family-copied     | ?first-hop-unseen  | whole
forwards W3C alone                   | ?first-hop-unseen     | lost-on-the-way       | ?first-hop-unseen  | whole
a new trace id under the old parent  | ?first-hop-unseen     | one-family-copied     | ?first-hop-unseen  | whole
a new trace                          | ?first-hop-unseen     | one-family-copied     | ?first-hop-unseen  | whole
an old call's headers                | ?first-hop-unseen     | new-trace             | ?first-hop-unseen  | new-trace
trace id of zeros                    | unreadable-value      | unreadable-value      | ?first-hop-unseen  | whole
span id of zeros                     | unreadable-value      | unreadable-value      | ?first-hop-unseen  | whole
version ff                           | ?first-hop-unseen     | whole                 | ?first-hop-unseen  | whole
span id of 15 digits                 | unreadable-value      | unreadable-value      | ?first-hop-unseen  | whole
upper case                           | ?first-hop-unseen     | whole                 | ?first-hop-unseen  | whole
quoted                               | unreadable-value      | unreadable-value      | ?first-hop-unseen  | whole
joined by a comma                    | unreadable-value      | unreadable-value      | ?first-hop-unseen  | whole
an empty b3                          | unreadable-value      | unreadable-value      | unreadable-value   | unreadable-value
128 bits cut to 64                   | .                     | id-cut                | ?first-hop-unseen  | id-cut
B3 span id of 15 digits              | .                     | unreadable-value      | ?first-hop-unseen  | spans-not-exported
B3 trace id of zeros                 | .                     | unreadable-value      | unreadable-value   | unreadable-value
B3 in upper case                     | .                     | unreadable-value      | ?first-hop-unseen  | whole
B3 of another trace                  | .                     | one-family-copied     | ?first-hop-unseen  | new-trace
B3 span id lost                      | .                     | unreadable-value      | ?first-hop-unseen  | whole
sampled becomes unsampled            | ?first-hop-unseen     | sampling-lost         | ?first-hop-unseen  | whole
B3 sampled becomes unsampled         | .                     | sampling-lost         | ?first-hop-unseen  | sampling-lost
traceparent lost and tracestate kept | ?first-hop-unseen     | one-family-copied     | ?first-hop-unseen  | whole
"""  # noqa: E501 a table
AT_SVC2 = """
nothing                              | whole                 | whole                 | whole              | whole
answers by itself                    | ?unseen-hop           | ?no-call-made         | ?unseen-hop        | ?no-call-made
calls around the sidecars            | around-the-sidecar    | around-the-sidecar    | around-the-sidecar | around-the-sidecar
the headers of the call before       | another-calls-headers | another-calls-headers | new-trace          | new-trace
forwards nothing in streams          | new-trace             | new-trace             | new-trace          | new-trace
forwards nothing in every other call | new-trace             | new-trace             | new-trace          | new-trace
a span of its own that nobody exports| .                     | spans-not-exported    | .                  | spans-not-exported
calls twice                          | whole                 | whole                 | whole              | whole
forwards nothing                     | new-trace             | new-trace             | new-trace          | new-trace
forwards x-request-id alone          | new-trace             | new-trace             | new-trace          | new-trace
forwards B3 alone                    | new-trace             | one-family-copied     | whole              | whole
forwards W3C alone                   | .                     | lost-on-the-way       | whole              | whole
a new trace id under the old parent  | new-trace             | one-family-copied     | whole              | whole
a new trace                          | new-trace             | one-family-copied     | whole              | whole
an old call's headers                | new-trace             | new-trace             | new-trace          | new-trace
trace id of zeros                    | unreadable-value      | unreadable-value      | whole              | whole
span id of zeros                     | unreadable-value      | unreadable-value      | whole              | whole
version ff                           | whole                 | whole                 | whole              | whole
span id of 15 digits                 | unreadable-value      | unreadable-value      | whole              | whole
upper case                           | whole                 | whole                 | whole              | whole
quoted                               | unreadable-value      | unreadable-value      | whole              | whole
joined by a comma                    | unreadable-value      | unreadable-value      | whole              | whole
an empty b3                          | unreadable-value      | unreadable-value      | unreadable-value   | unreadable-value
128 bits cut to 64                   | .                     | id-cut                | id-cut             | id-cut
B3 span id of 15 digits              | .                     | unreadable-value      | .                  | spans-not-exported
B3 trace id of zeros                 | .                     | unreadable-value      | unreadable-value   | unreadable-value
B3 in upper case                     | .                     | unreadable-value      | whole              | whole
B3 of another trace                  | .                     | one-family-copied     | new-trace          | new-trace
B3 span id lost                      | .                     | unreadable-value      | whole              | whole
sampled becomes unsampled            | sampling-lost         | sampling-lost         | whole              | whole
B3 sampled becomes unsampled         | .                     | sampling-lost         | sampling-lost      | sampling-lost
traceparent lost and tracestate kept | new-trace             | one-family-copied     | whole              | whole
"""  # noqa: E501 a table
MESHES = (("otlp", "svc1"), ("otlp", "svc2"), ("zipkin", "svc1"), ("zipkin", "svc2"))


class Case(NamedTuple):
    """A mistake, judged with the store or without, and the cell that it stands in."""

    mistake: str
    store: bool
    cell: str


def cases(tracer: str, place: str) -> list[Case]:
    """A mesh's two columns of the table."""
    found = []
    for line in (AT_SVC1 if place == "svc1" else AT_SVC2).strip().splitlines():
        mistake, *cells = (part.strip() for part in line.split("|"))
        records, store = cells[:2] if tracer == "otlp" else cells[2:]
        found += [Case(mistake, False, records), Case(mistake, True, store)]
    return [one for one in found if one.cell != "."]


ALL = [(tracer, place, one) for tracer, place in MESHES for one in cases(tracer, place)]
Runs = dict[Case, call.Run]


TABLES: dict[str, tuple[str, str, list[Case]]] = {
    f"{tracer}-{place}": (tracer, place, cases(tracer, place)) for tracer, place in MESHES
}


@pytest.fixture(scope="module", params=cells(TABLES, ()))
def played(request: pytest.FixtureRequest) -> Iterator[tuple[str, Runs]]:
    """The place of the mistakes, and every case of a table, some at a time."""
    tracer, place, asked = TABLES[request.param]
    with mesh("--tracer", tracer, "--run", f"{place}='{sys.executable}' -m tests.mesh.told_hop") as one:
        yield place, asyncio.run(_play(one, asked))


async def _play(one: Mesh, asked: list[Case]) -> Runs:
    turns = asyncio.Semaphore(AT_ONCE)

    async def play(case: Case) -> call.Run:
        async with turns:
            return await judged_beside(*_arguments(one, case))

    return dict(zip(asked, await asyncio.gather(*map(play, asked)), strict=True))


def _arguments(one: Mesh, case: Case) -> list[str]:
    facts = one.facts
    told = f"baggage: mistake={case.mistake.replace(' ', '+')},run={int(case.store)}"
    rpc = "all" if case.mistake in IN_SEVERAL_CALLS else "Talk"
    store = ["--traces", facts["traces"], "--otlp", facts["otlp_http"]] if case.store else []
    return ["--target", one.target, "--rpc", rpc, "-H", told, "--timeout", "30s", "--wait", WAIT, *store]


def test_each_verdict_is_the_tables(played: tuple[str, Runs], subtests: pytest.Subtests) -> None:
    place, runs = played
    for case, run in runs.items():
        with subtests.test(mistake=case.mistake, store=case.store):
            _holds(case, run, place)


def _holds(case: Case, run: call.Run, place: str) -> None:
    findings = [one for made in run.calls for one in made.judgement.findings]
    lines = [one.line for one in findings]
    verdict = {"w": CONNECTED, "?": UNPROVEN}.get(case.cell[0], BROKEN)
    assert run.verdict == (CONNECTED if case.cell == "whole" else verdict), lines
    if case.cell != "whole":
        told = [one.line for one in findings if one.cause.name == case.cell.removeprefix("?")]
        assert told, lines
        # Without a record nothing tells places apart; a hop that is called around its sidecar is the next one.
        named = {"?no-records": "", "around-the-sidecar": f"svc{int(place[-1]) + 1}"}.get(case.cell, place)
        assert any(named in line for line in told), told


NOTHING_MENDS = {
    "trace id of zeros": "unreadable-value",
    "span id of zeros": "unreadable-value",
    "version ff": "unreadable-value",
    "span id of 15 digits": "unreadable-value",
    "upper case": "unreadable-value",
    "quoted": "unreadable-value",
    "joined by a comma": "unreadable-value",
    "128 bits cut to 64": "id-cut",
    "a leading zero lost": "unreadable-value",
    "B3 span id of 15 digits": "unreadable-value",
    "B3 trace id of zeros": "unreadable-value",
    "B3 in upper case": "unreadable-value",
    "B3 trace id twice": "unreadable-value",
    "B3 span id lost": "unreadable-value",
}
TRACE, SPAN = "0bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = (f"traceparent: 00-{TRACE}-{SPAN}-01", f"x-b3-traceid: {TRACE}", f"x-b3-spanid: {SPAN}")


@pytest.mark.parametrize("place", cells(["svc1", "svc2"], ["svc2"]))
def test_without_sidecars_nothing_mends_a_value(place: str, subtests: pytest.Subtests) -> None:
    sent = [word for header in SENT for word in ("-H", header)]
    with mesh("--no-mesh", "--run", f"{place}='{sys.executable}' -m tests.mesh.told_hop") as one:
        for mistake, cause in NOTHING_MENDS.items():
            case = Case(mistake, False, cause)
            with subtests.test(mistake=mistake):
                _holds(case, judged(*_arguments(one, case), *sent), place)


def test_the_table_has_every_mistake_that_a_hop_can_make_here() -> None:
    # gRPC's core sends traceparent once.
    assert set(MISTAKES) - {one.mistake for _, _, one in ALL} - set(NOTHING_MENDS) == {"the header twice"}
    assert WHOLE in {one.mistake for _, _, one in ALL}
    assert len(ALL) > 200
