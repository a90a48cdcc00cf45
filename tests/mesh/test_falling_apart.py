"""The negative control: a hop that forwards nothing, with each tracer; the trace falls apart where it stands."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.mesh.support import Mesh, call, mesh, run
from tests.support.cells import cells

# Who forwards nothing, and the spans of each trace that is left of one call.
PIECES: dict[tuple[str, ...], list[int]] = {
    (): [6],
    ("svc2",): [4, 2],
    ("svc1", "svc2"): [2, 2, 2],
}


@dataclass(frozen=True)
class Case:
    mesh: Mesh
    silent: tuple[str, ...]


CASES = [(tracer, silent) for tracer in ("otlp", "zipkin") for silent in PIECES]
BY_DEFAULT = (("otlp", ("svc2",)),)


@pytest.fixture(
    scope="module",
    params=cells(CASES, BY_DEFAULT),
    ids=lambda param: f"{param[0]} {' and '.join(param[1]) or 'nobody'} silent",
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    tracer, silent = request.param
    options = [option for name in silent for option in ("--propagate", f"{name}=none")]
    with mesh("--tracer", tracer, *options) as one:
        yield Case(one, silent)


def test_a_call_leaves_as_many_traces_as_there_are_pieces(case: Case) -> None:
    outcome = call(case.mesh.target)
    expected = PIECES[case.silent]
    assert len(outcome.trace_ids) == len(expected)
    counted = [
        len(case.mesh.spans(trace_id, count)) for trace_id, count in zip(outcome.trace_ids, expected, strict=True)
    ]
    assert counted == expected


def test_the_verdict_names_who_forwarded_nothing(case: Case) -> None:
    done = run("-m", "client", "call", "--rpc", "all", "--json", "--target", case.mesh.target)
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["verdict"]) == ((1, "broken") if case.silent else (0, "connected"))
    assert [one["traces"] for one in verdict["calls"]] == [len(PIECES[case.silent])] * 4
    for one in verdict["calls"]:
        blamed = {name for name in ("svc1", "svc2", "svc3") for text in one["problems"] if text.startswith(name)}
        assert blamed == set(case.silent), one["problems"]


def test_the_lane_is_lost_where_its_header_is(case: Case) -> None:
    lane = ("-H", "x-lane: canary")
    done = run("-m", "client", "call", "--rpc", "Talk", "--json", "--target", case.mesh.target, *lane)
    (one,) = json.loads(done.stdout)["calls"]
    assert one["hops"][-1]["version"] == ("v1" if case.silent else "canary")
    lost = [text for text in one["problems"] if "x-lane" in text]
    assert [text.split()[0] for text in lost] == list(case.silent[:1])


def test_every_hop_sees_one_trace_id_in_every_family_that_came(case: Case) -> None:
    for hop in call(case.mesh.target).hops:
        headers = {header.key: header.value.decode() for header in hop.headers}
        ids = {headers["traceparent"].split("-")[1]} | {headers[key] for key in ("x-b3-traceid",) if key in headers}
        assert len(ids) == 1, (hop.service, ids)
