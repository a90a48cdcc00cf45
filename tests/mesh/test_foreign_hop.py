"""A hop in svc2's place that is not ours, behind its real sidecar: the verdict blames who it was, or says unknown."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.mesh.foreign_hop import CHANGES, OTHER_TRACE
from tests.mesh.support import Mesh, mesh, run
from tests.support.cells import cells
from tests.support.processes import ROOT, environment

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
    # It was given with -H, so it has to go on.
    "drop-baggage": Expected(1, "broken", 1, "svc1 sent baggage, which is required, and svc3 did not receive it"),
    "reorder": Expected(0, "connected", 1, f"{BETWEEN}baggage headers changed their order"),
    "another-trace": Expected(1, "broken", 2, f"received trace {OTHER_TRACE}"),
    # Its sidecar begins another trace.
    "drop-traceparent": Expected(1, "broken", 2, "received trace "),
}


def requester(target: str, *headers: str) -> CompletedProcess[str]:
    return run("-m", "client", "call", "--rpc", "Talk", "--json", "--target", target, *headers)


@pytest.fixture(scope="module", params=cells(CHANGES, ("another-trace",)))
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
    assert not [
        text
        for text in call["problems"]
        if text.startswith(("svc1 received", "svc3 received")) and "did not forward" in text
    ]


@pytest.mark.full
def test_a_command_means_what_it_means_where_it_was_typed(tmp_path: Path) -> None:
    """Its program, its files, and the modules beside it."""
    (tmp_path / "its_own.py").write_text("from tests.mesh.foreign_hop import main\n")
    (tmp_path / "hop.py").write_text(
        "import asyncio\nimport sys\nfrom its_own import main\nasyncio.run(main(sys.argv[1]))\n"
    )
    hop = tmp_path / "hop"
    hop.write_text(f'#!/bin/sh\nexec "{sys.executable}" hop.py nothing\n')
    hop.chmod(0o755)
    command = ["sh", str(ROOT / "test.sh"), "--run", "svc2=./hop", "--rpc", "Talk", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment({}), capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["calls"][0]["path"]) == (0, ["svc1", "svc3"]), done.stderr


@pytest.mark.full
def test_a_tracestate_that_envoy_folds_blames_nobody(shared_mesh: Mesh) -> None:
    states = ("-H", SENT[0], "-H", "tracestate: a=1", "-H", "tracestate: b=2")
    done = requester(shared_mesh.target, *states)
    (call,) = json.loads(done.stdout)["calls"]
    assert (done.returncode, call["verdict"], call["problems"]) == (0, "connected", []), done.stderr
    received = [h["value"] for hop in call["hops"] for h in hop["headers"] if h["key"] == "tracestate"]
    assert received == ["a=1,b=2"] * 3
