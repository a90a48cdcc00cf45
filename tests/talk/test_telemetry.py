"""TALK_OTEL: spans of the service's own, and what that means for headers, records and the service's end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from protos import hop_pb2
from tests.support.leaf import Leaf, serve
from tests.support.processes import ROOT, Service, environment, service
from tests.support.stub import Metadata, Stub, connect, records
from tests.talk.test_instrumented import ANSWERED, THREE, Pattern

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT: Metadata = [
    ("traceparent", f"00-{TRACE}-{PARENT}-01"),
    ("tracestate", "rojo=1"),
    ("baggage", "a=1"),
    ("x-request-id", "r"),
    ("baggage", "b=2"),
]
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Stub, Leaf]]:
    """svc2 with an SDK whose spans nobody takes, in front of a last hop of the test's own."""
    folder, leaf = tmp_path_factory.mktemp("hop"), Leaf()
    with pytest.MonkeyPatch.context() as patch, serve(f"unix:{folder}/leaf", leaf) as last:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOBODY)
        with (
            service("svc2", folder / "log", listen="127.0.0.1:0", next_hop=last, otel="1") as svc2,
            connect(svc2.addresses[0]) as stub,
        ):
            yield svc2, stub, leaf


@pytest.mark.parametrize("pattern", ANSWERED, ids=lambda pattern: pattern.__name__)
def test_the_sdk_writes_the_span_and_every_header_goes_on(hop: tuple[Service, Stub, Leaf], pattern: Pattern) -> None:
    _, stub, leaf = hop
    leaf.reset()
    call, _ = pattern(stub, THREE, metadata=SENT, timeout=20)
    assert call.code() == grpc.StatusCode.OK
    came = [pair for pair in leaf.metadata if pair[0] in dict(SENT)]
    (traceparent,) = [str(value) for key, value in came if key == "traceparent"]
    assert (traceparent[3:35], traceparent[36:52] != PARENT) == (TRACE, True)
    assert sorted(came) == sorted([("traceparent", traceparent), *SENT[1:]])
    assert [value for key, value in came if key == "baggage"] == ["a=1", "b=2"]


def test_the_record_says_what_the_sdk_wrote_anew(hop: tuple[Service, Stub, Leaf]) -> None:
    _, stub, _ = hop
    _, call = stub.talk.with_call(b"", metadata=SENT, timeout=20)
    (record,) = records(call)
    decisions = {header.key: hop_pb2.Decision.Name(header.decision) for header in record.headers}
    assert {key: decisions[key] for key, _ in SENT} == {
        "traceparent": "REWRITTEN",
        "tracestate": "REWRITTEN",
        "baggage": "REWRITTEN",
        "x-request-id": "FORWARDED",
    }


def test_spans_that_nobody_takes_do_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with service("svc3", tmp_path / "log", listen="127.0.0.1:0", otel="on") as svc3:
            with connect(svc3.addresses[0]) as stub, pytest.raises(grpc.RpcError):
                stub.talk(b"", timeout=20)
            began = time.monotonic()
            assert svc3.stop() == 0
            assert time.monotonic() - began < 8, "the exporter's own patience is 10 s"


def test_off_it_is_not_even_imported() -> None:
    text = "import sys, talk.server; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_sdk_the_service_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("")  # no package: whatever is below it is missing
    paths = f"{tmp_path}:{ROOT}"
    variables = environment({"TALK_OTEL": "on", "TALK_LISTEN": "127.0.0.1:0", "PYTHONPATH": paths})
    done = subprocess.run(
        [sys.executable, "-m", "svc3"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "TALK_OTEL: no module opentelemetry.exporter" in done.stderr
    assert "LOCK=otel" in done.stderr
