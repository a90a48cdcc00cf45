"""A hop in svc2's place that is not ours, behind its real sidecar: the verdict blames who it was, or says unknown."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from tests.mesh.foreign_hop import CHANGES, OTHER_TRACE
from tests.mesh.support import Mesh, mesh, run

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = (f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", "baggage: a=1", "baggage: b=2")
HEADERS = tuple(word for header in SENT for word in ("-H", header))


@dataclass(frozen=True)
class Expected:
    """What the requester says: on standard error while the trace is whole, else among the problems."""

    code: int
    verdict: str
    traces: int
    words: str


BETWEEN = "between svc1 and svc3 (svc2 left no record): "
EXPECTED = {
    "nothing": Expected(0, "connected", 1, "svc2 left no record: unknown"),
    "drop-baggage": Expected(0, "connected", 1, f"{BETWEEN}baggage was lost"),
    "reorder": Expected(0, "connected", 1, f"{BETWEEN}baggage headers changed their order"),
    "another-trace": Expected(1, "broken", 2, f"received trace {OTHER_TRACE}"),
    # Its sidecar begins another trace.
    "drop-traceparent": Expected(1, "broken", 2, "received trace "),
}


def requester(target: str, *headers: str) -> CompletedProcess[str]:
    return run("-m", "client", "call", "--rpc", "Talk", "--json", "--target", target, *headers)


@pytest.fixture(scope="module", params=CHANGES)
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[Mesh, str]]:
    command = f"'{sys.executable}' -m tests.mesh.foreign_hop {request.param}"
    with mesh("--run", f"svc2={command}") as one:
        yield one, request.param


def test_the_verdict_blames_nobody_of_ours(foreign: tuple[Mesh, str]) -> None:
    one, change = foreign
    expected = EXPECTED[change]
    done = requester(one.target, *HEADERS)
    (call,) = json.loads(done.stdout)["calls"]
    assert (done.returncode, call["verdict"], call["traces"]) == (expected.code, expected.verdict, expected.traces)
    assert call["path"] == ["svc1", "svc3"]
    assert expected.words in " ".join(call["problems"] or [done.stderr])
    assert not [text for text in call["problems"] if text.startswith(("svc1 ", "svc3 received")) and "did not" in text]


def test_a_tracestate_that_envoy_folds_blames_nobody(shared_mesh: Mesh) -> None:
    states = ("-H", SENT[0], "-H", "tracestate: a=1", "-H", "tracestate: b=2")
    done = requester(shared_mesh.target, *states)
    (call,) = json.loads(done.stdout)["calls"]
    assert (done.returncode, call["verdict"], call["problems"]) == (0, "connected", []), done.stderr
    received = [h["value"] for hop in call["hops"] for h in hop["headers"] if h["key"] == "tracestate"]
    assert received == ["a=1,b=2"] * 3
