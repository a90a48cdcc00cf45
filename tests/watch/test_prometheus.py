"""The watch scraped by a real Prometheus, with the alert rules of the docs."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.audit.traffic import Traffic
from tests.support.missing import missing
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.waiting import wait_for
from tests.watch.support import Passing, running_watch

RULES = ROOT / "docs" / "examples" / "watch" / "alerts.yaml"
WINDOW = 20
SOON = ("--window", f"{WINDOW}s", "--step", "2s", "--settle", "500ms")
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}}
rule_files: [{rules}]
scrape_configs: [{{job_name: watch, static_configs: [{{targets: ["{target}"]}}]}}]
"""
WHOLE = Traffic("cart", rate=10, seconds=600)
CUTTING = Traffic("cart", cuts=True, rate=10, seconds=600, seed=2)
JOBS = Traffic("shop", rate=10, beat=0.5, seconds=600, seed=3)


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, trust_env=False, timeout=30).json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """Alerts by name and service."""
        found = self.ask('ALERTS{alertstate="firing"}')
        return {(one["metric"]["alertname"], one["metric"].get("service", "")) for one in found}


def program() -> str:
    return shutil.which("prometheus") or missing("no prometheus")


def rule_tester() -> str:
    return shutil.which("promtool") or missing("no promtool")


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """With the rules, in which minutes are seconds."""
    rules, config = folder / "alerts.yaml", folder / "prometheus.yaml"
    text = RULES.read_text()
    assert "for: 2m" in text
    rules.write_text(text.replace("for: 2m", "for: 2s"))
    (port,) = free_ports(1)
    config.write_text(CONFIG.format(rules=rules, target=target))
    command = [program(), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
        try:
            one = Prometheus(f"http://127.0.0.1:{port}")
            wait_for(lambda: _ready(one.url), "Prometheus is ready")
            yield one
        finally:
            process.terminate()
            process.wait(60)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.full
def test_the_rules_say_what_they_are_to_say() -> None:
    ended = subprocess.run(
        [rule_tester(), "test", "rules", RULES.with_name("alerts_test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_alert_fires_within_two_windows_and_clears_within_two_of_the_mend(tmp_path: Path) -> None:
    with running_watch(tmp_path, *SOON) as watch, prometheus(tmp_path, watch.url.removeprefix("http://")) as one:
        with Passing(watch, WHOLE).going_on() as cart, Passing(watch, JOBS).going_on():
            watch.until(lambda scrape: scrape.word("cart") == "whole", "cart is whole at first")
            wait_for(lambda: one.ask("up == 1"), "Prometheus scrapes")
            assert one.firing() == set()
            cut_at = time.monotonic()
            cart.switch(CUTTING)
            wait_for(lambda: ("TracesCut", "cart") in one.firing(), "the alert fires", timeout=120)
            fired = time.monotonic() - cut_at
            mended_at = time.monotonic()
            cart.switch(WHOLE)
            wait_for(lambda: not one.firing(), "the alert clears", timeout=120)
            cleared = time.monotonic() - mended_at
        assert {alert["metric"]["service"] for alert in one.ask('ALERTS{alertname="TracesCut"}[10m]')} == {"cart"}
        watch.until(lambda scrape: scrape.value("watch_spans_total") > 0, "it is still there")
    print(json.dumps({"fired": round(fired, 1), "cleared": round(cleared, 1)}))  # noqa: T201 - for who runs it with -s
    assert max(fired, cleared) < 10 * WINDOW, "two windows on a machine that has time"
