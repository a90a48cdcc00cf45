"""The local mesh at 40 % of its capacity, and 1 % of callers that vanish in the middle of an upload.

30 minutes, or as many seconds as TALK_TEST_SECONDS says.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.chains import machine
from tests.mesh.support import ANY_PORTS, Mesh, run, state_directory
from tests.soak.cut_uploads import LastHops, VanishingCallers, complete_upload, vanishing_callers
from tests.soak.growth import Growth, Watch
from tests.soak.in_flight import in_flight
from tests.support.processes import ROOT, environment
from tests.support.waiting import wait_for

SECONDS = float(os.environ.get("TALK_TEST_SECONDS", "1800"))
SHARE = 0.4
VANISHING = 0.01
LAST = ("svc3", "svc3-canary")
# Memory counts from minute 5 on: until then caches fill, and a shorter run says nothing of it. A tenth of the run is
# what is compared.
MEMORY_COUNTS = SECONDS > 600
SETTLED = 300.0 if MEMORY_COUNTS else SECONDS / 6
STRETCH = SECONDS / 10
BETWEEN_SAMPLES = 1.0

# What the trace store keeps at most: it is filled first, so that it is as large from the start as it will ever be.
STORE_TRACES = 10_000
SPANS_PER_TRACE = 6

RESULTS = ROOT / "bench" / "results" / "soak.json"
FULL = 1800.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 900)]


@pytest.fixture
def running() -> Iterator[Mesh]:
    with state_directory() as directory:
        one = Mesh(directory)
        done = one.run("up", *ANY_PORTS, TALK_CHANNELZ="on")
        assert done.returncode == 0, done.stderr
        yield one


def test_a_load_held_for_long_fails_no_call_and_makes_nothing_grow(running: Mesh) -> None:
    _fill_store(running.facts["otlp_http"])
    facts = machine()
    capacity = _capacity(running.target)
    rate = capacity * SHARE
    watch, last_hops = Watch(running.pids), LastHops([running.state / "logs" / f"{name}.log" for name in LAST])
    with vanishing_callers(running.target, rate * VANISHING) as callers:
        load = _hold(running.target, rate, watch, last_hops)
    growth = watch.growth(SETTLED, STRETCH)
    wait_for(lambda: in_flight(running) == 0, "nothing is left of any call", timeout=30)
    _read_to_the_end(last_hops, running.target)
    uploads = _fates(last_hops, callers)
    _write(facts, capacity, load, uploads, growth)
    assert (load["errors"], load["unstarted"]) == ({}, 0)
    assert load["calls"] > 0.9 * rate * SECONDS
    assert len(callers.begun) > 0.9 * rate * VANISHING * SECONDS
    assert last_hops.taken_for_whole(callers.begun) == []
    assert last_hops.seen(callers.begun) > len(callers.begun) / 10, "more reach the last hop before they are cut"
    complaints = {name: one.complaints(memory=MEMORY_COUNTS) for name, one in growth.items()}
    assert {name: found for name, found in complaints.items() if found} == {}
    assert _tracebacks(running.state / "logs") == []


def _capacity(target: str) -> float:
    """Calls a second with 32 always in flight."""
    options = ("--target", target, "--concurrency", "32", "--duration", "10s", "--timeout", "30s", "--json")
    done = run("-m", "client", "load", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return float(json.loads(done.stdout)["calls_per_s"])


def _hold(target: str, rate: float, watch: Watch, last_hops: LastHops) -> dict[str, Any]:
    options = ("--target", target, "--rate", f"{rate:.1f}", "--duration", f"{SECONDS:g}s", "--timeout", "30s", "--json")
    command = [sys.executable, "-m", "client", "load", *options]
    with subprocess.Popen(command, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE) as load:
        while load.poll() is None:
            watch.sample()
            last_hops.read()
            try:
                load.wait(BETWEEN_SAMPLES)
            except subprocess.TimeoutExpired:
                continue
        assert load.stdout is not None
        result: dict[str, Any] = json.loads(load.stdout.read())
    return result


def _read_to_the_end(last_hops: LastHops, target: str) -> None:
    """Lines stand in the order of the calls' ends: this one's comes after those of all that were cut."""
    with complete_upload(target) as whole:

        def told() -> bool:
            last_hops.read()
            return last_hops.ended(whole, "OK")

        wait_for(told, "an upload that comes to its end is logged as such")


def _fates(last_hops: LastHops, callers: VanishingCallers) -> dict[str, int]:
    begun, seen = len(callers.begun), last_hops.seen(callers.begun)
    whole = len(last_hops.taken_for_whole(callers.begun))
    return {
        "begun": begun,
        "cancelled_at_the_last_hop": seen - whole,
        "taken_for_whole": whole,
        "cut_on_the_way_there": begun - seen,
    }


def _fill_store(otlp_http: str) -> None:
    batch = 500
    for first in range(0, STORE_TRACES, batch):
        spans = [_span(trace, span) for trace in range(first, first + batch) for span in range(SPANS_PER_TRACE)]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "filling"}}]}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
        httpx.post(f"{otlp_http}/v1/traces", json=body, trust_env=False, timeout=60).raise_for_status()


def _span(trace: int, span: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": f"{trace + 1:032x}",
        "spanId": f"{span + 1:016x}",
        "name": "/org.feuyeux.grpc.LandingService/Talk",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000001000000",
        # As many and as long as Envoy's.
        "attributes": [{"key": f"attribute.{number}", "value": {"stringValue": "v" * 20}} for number in range(16)],
    }
    return found | ({"parentSpanId": f"{span:016x}"} if span else {})


def _tracebacks(logs: Path) -> list[str]:
    return [log.name for log in sorted(logs.glob("*.log*")) if "Traceback" in log.read_text(errors="replace")]


def _write(
    facts: dict[str, Any],
    capacity: float,
    load: dict[str, Any],
    uploads: dict[str, int],
    growth: dict[str, Growth],
) -> None:
    """The figures of a full run, for bench/README.md; a short one's are printed."""
    found = {
        "command": "./check.sh soak",
        "machine": facts | {"load_after": [round(one, 2) for one in os.getloadavg()]},
        "seconds": SECONDS,
        "capacity_per_second": round(capacity, 1),
        "load": {key: load[key] for key in ("rate", "calls", "calls_per_s", "errors", "unstarted", "latency_ms")},
        "cut_uploads": uploads,
        "processes": {name: _row(one) for name, one in sorted(growth.items())},
    }
    text = json.dumps(found, indent=2) + "\n"
    print(text)  # noqa: T201 (shown where the test fails)
    if SECONDS >= FULL:
        RESULTS.write_text(text)


def _row(growth: Growth) -> dict[str, float]:
    return {
        "rss_mb_settled": round(growth.settled.rss / 1e6, 2),
        "rss_mb_end": round(growth.end.rss / 1e6, 2),
        "rss_growth_percent": round(growth.rss_percent, 2),
        "files_settled": growth.settled.files,
        "files_end": growth.end.files,
        "threads_settled": growth.settled.threads,
        "threads_end": growth.end.threads,
    }
