"""Services that make spans of their own, by OpenTelemetry's SDK, between their sidecars' spans."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from protos import landing_pb2
from tests.client.run import Finished, client
from tests.mesh.support import ANY_PORTS, Mesh, state_directory
from tests.support.arrivals import call_at_random
from tests.support.waiting import wait_for

SOON = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
"""Milliseconds; five seconds are the SDK's own default."""
NOBODY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
SVC2_ALONE = ("--run", f"svc2=env TALK_OTEL=1 '{sys.executable}' -m svc2")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextmanager
def mesh(*options: str, **settings: str) -> Iterator[Mesh]:
    with state_directory() as folder:
        one = Mesh(folder)
        done = one.run("up", *ANY_PORTS, *options, **SOON, **settings)
        assert done.returncode == 0, done.stderr
        yield one


def call(one: Mesh, *options: str) -> Finished:
    facts = one.facts
    return client("call", "--target", one.target, "--traces", facts["traces"], "--otlp", facts["otlp_http"], *options)


def spans_by_service(one: Mesh, answer: Any, at_least: int) -> Counter[str]:
    return Counter(span["service"] for span in one.spans(answer["trace_id"], at_least))


@pytest.mark.long
def test_svc2_alone_leaves_four_spans_and_all_is_connected() -> None:
    with mesh(*SVC2_ALONE) as one:
        ended = call(one, "--json")
        assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended.out
        for answer in ended.json["calls"]:
            spans = spans_by_service(one, answer, answer["spans"])
            assert (spans["svc1"], spans["svc2"], spans["svc3"]) == (2, 4, 1), answer["rpc"]


@pytest.mark.full
def test_all_three_are_connected_and_each_record_says_what_its_sdk_wrote() -> None:
    with mesh(TALK_OTEL="1") as one:
        ended = call(one, "--json")
        assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended.out
        for answer in ended.json["calls"]:
            spans = spans_by_service(one, answer, answer["spans"])
            assert (spans["svc1"], spans["svc2"], spans["svc3"]) == (4, 4, 2), answer["rpc"]
            decisions = [_decision(hop, "traceparent") for hop in answer["hops"]]
            assert decisions == ["rewritten", "rewritten", "forwarded"], "the last one calls nobody"
        told = call(one, "--rpc", "Talk", "-H", "baggage: a=1", "-H", "baggage: b=2")
    assert "forwarded all, its SDK wrote traceparent, " in told.out
    assert "connected: " in told.out, told.out


@pytest.mark.full
def test_the_audit_takes_both_kinds_of_spans_for_one_trace() -> None:
    with mesh(TALK_OTEL="1") as one:
        assert call(one).code == 0
        services = audit(one)
    assert {name: services[name]["cut"] for name in ("svc1", "svc2")} == {"svc1": 0, "svc2": 0}
    assert {services[name]["verdict"] for name in ("svc1", "svc2")} == {"whole"}


@pytest.mark.full
def test_the_audit_says_where_a_service_loses_the_trace_between_its_sdk_and_its_sidecar() -> None:
    blind = f"svc2=env TALK_OTEL=1 TALK_PROPAGATE=none OTEL_PROPAGATORS=baggage '{sys.executable}' -m svc2"
    with mesh("--run", blind) as one:
        talk_at_random(one.target, calls=150)
        services = wait_for(lambda: _once_all_are_in(audit(one), "svc2", 150), "the spans of all calls")
    assert (services["svc2"]["verdict"], services["svc2"]["where"]) == ("cuts", "out")
    assert services["svc1"]["verdict"] == "whole"


def talk_at_random(target: str, calls: int) -> None:
    """Ten a second."""
    request = landing_pb2.TalkRequest(data="0", meta="python").SerializeToString()
    with grpc.insecure_channel(target) as channel:
        talk: Any = channel.unary_unary("/org.feuyeux.grpc.LandingService/Talk")

        def begin(chance: random.Random) -> Any:
            traceparent = f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"
            return talk.future(request, timeout=60, metadata=(("traceparent", traceparent),))

        call_at_random(begin, calls, rate=10)


def _once_all_are_in(services: dict[str, Any], name: str, calls: int) -> dict[str, Any]:
    """Empty, as long as some are missing."""
    return services if services.get(name, {"calls_out": 0})["calls_out"] >= calls else {}


def audit(one: Mesh) -> dict[str, Any]:
    """What `grpc-tracing audit` says of each service."""
    command = [
        sys.executable,
        "-m",
        "grpc_tracing",
        "audit",
        "--traces",
        one.facts["traces"],
        "--last",
        "10m",
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.stdout, ended.stderr
    return {service["service"]: service for service in json.loads(ended.stdout)["services"]}


def _decision(hop: Any, key: str) -> str:
    (decision,) = {header["fate"] for header in hop["headers"] if header["key"] == key}
    return str(decision)


@pytest.mark.long
@pytest.mark.parametrize("with_traces", [True, False])
def test_with_the_exporter_dead_the_missing_spans_are_named(with_traces: bool) -> None:
    with mesh(TALK_OTEL="1", **NOBODY) as one:
        target = ("call", "--target", one.target, "--wait", "3s")
        ended = call(one, "--wait", "3s") if with_traces else client(*target)
    verdict = next(line for line in ended.out.splitlines() if line.startswith(("connected", "broken", "unproven")))
    if with_traces:
        assert (ended.code, verdict.partition(":")[0]) == (1, "broken"), ended.out
        assert "spans-not-exported" in ended.out
    else:
        assert (ended.code, verdict.partition(":")[0]) == (0, "connected"), ended.out
