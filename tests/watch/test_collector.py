"""The watch behind a real Collector: what is sent is what is counted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from bench.audit.live import send, shop
from tests.store.support import answers
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.waiting import wait_for
from tests.watch.support import Scrape, running_watch

EXAMPLE = ROOT / "docs" / "examples" / "watch" / "collector.yaml"


@contextmanager
def collector(folder: Path, watch: str) -> Iterator[str]:
    """By the docs' example, without the backend; gives where it takes OTLP over gRPC."""
    program = shutil.which("otelcol")
    if not program:
        pytest.skip("no otelcol")
    (port,) = free_ports(1)
    config = yaml.safe_load(EXAMPLE.read_text())
    config["receivers"]["otlp"]["protocols"] = {"grpc": {"endpoint": f"127.0.0.1:{port}"}}
    config["exporters"] = {"otlp/watch": config["exporters"]["otlp/watch"] | {"endpoint": watch}}
    config["service"] |= {"telemetry": {"metrics": {"level": "none"}}}
    config["service"]["pipelines"]["traces"]["exporters"] = ["otlp/watch"]
    (folder / "collector.yaml").write_text(yaml.safe_dump(config))
    with (folder / "collector.log").open("w") as log:
        process = subprocess.Popen([program, "--config", f"file:{folder / 'collector.yaml'}"], stderr=log)
        try:
            wait_for(lambda: answers(port), "the Collector listens")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.full
def test_counts_are_what_was_sent_and_the_cutters_are_named(tmp_path: Path) -> None:
    ticks = shop(spans=400, cutters=3, seed=1000)
    with running_watch(tmp_path, "--listen", "127.0.0.1:0", "--step", "2s", "--settle", "1s", listens=False) as watch:
        with collector(tmp_path, watch.address("OTLP over gRPC on ")) as target:
            sent = send(target, ticks, seconds=15)
            assert (sent.rejected, sent.failed) == (0, {})
            found = watch.until(lambda one: taken(one) == sent.spans, "all spans came")
        assert {
            reason: found.value("watch_spans_dropped_total", reason=reason) for reason in ("bad_ids", "memory")
        } == {
            "bad_ids": 0,
            "memory": 0,
        }
        watch.until(lambda one: one.value("watch_open_spans") == 0, "they settle")
        watch.until(lambda one: one.total("cut_calls_total") > 0, "a cutter is named")


def taken(scrape: Scrape) -> float:
    """Each once: a Collector sends again what was not answered in time."""
    return scrape.value("watch_spans_total") - scrape.value("watch_spans_dropped_total", reason="twice")
