"""What the docs name is what a scrape shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from grpc_tracing.audit.facts import fact
from grpc_tracing.store.receive import Reason
from grpc_tracing.watch.core import Bounds, Known
from grpc_tracing.watch.live import Live
from grpc_tracing.watch.metrics import Shown
from grpc_tracing.watch.otlp_metrics import request_of
from grpc_tracing.watch.window import judged
from tests.audit.traffic import Traffic
from tests.support.processes import ROOT
from tests.watch.support import scraped

EXAMPLES = ROOT / "docs" / "examples" / "watch"
NAMING = (
    ROOT / "docs" / "watch.md",
    EXAMPLES / "alerts.yaml",
    EXAMPLES / "alerts_test.yaml",
    EXAMPLES / "dashboard.json",
)


def live() -> Live:
    """Has seen a service that cuts."""
    known = Known(Bounds(settle=0))
    known.take(map(fact, Traffic(cuts=True, seconds=20).spans()), 0.0)
    known.settle(1.0, 10**9)
    steps = known.turn(0.0, 20.0)
    known.judge(judged(steps, None), steps, 0.1)
    one = Live(known)
    one.receiver.refuse("otlp_http", Reason.SLOW)
    return one


def shown(one: Live) -> str:
    registry = CollectorRegistry()
    registry.register(Shown(one))
    return generate_latest(registry).decode()


@pytest.mark.parametrize("file", NAMING, ids=lambda file: file.name)
def test_every_metric_that_is_named_is_there(file: Path) -> None:
    known = {name for name, _ in scraped(shown(live())).series}
    named = set(re.findall(r"\bgrpc_tracing_\w+", file.read_text())) - {"grpc_tracing_mesh"}
    assert named
    assert named - known == set()


def test_a_scrape_says_each_verdict_once_and_which_one_holds() -> None:
    series = scraped(shown(live())).series
    words = {labels: value for (name, labels), value in series.items() if name == "grpc_tracing_verdict"}
    assert len(words) == 6
    assert [dict(labels)["verdict"] for labels, value in words.items() if value] == ["cuts"]


def test_otlp_has_the_same_series_with_the_same_values() -> None:
    one = live()
    (group,) = request_of(Shown(one).collect(), 1, 2).resource_metrics
    (scope,) = group.scope_metrics
    sent = {
        (metric.name, frozenset((pair.key, pair.value.string_value) for pair in point.attributes)): point.as_double
        for metric in scope.metrics
        for point in (*metric.sum.data_points, *metric.gauge.data_points)
    }
    prometheus = {
        (name.removesuffix("_total"), labels): value for (name, labels), value in scraped(shown(one)).series.items()
    }
    assert sent.keys() == prometheus.keys()
    moving = "grpc_tracing_watch_blind_seconds"
    assert {key: value for key, value in sent.items() if key[0] != moving} == {
        key: value for key, value in prometheus.items() if key[0] != moving
    }


def test_the_examples_are_what_they_say() -> None:
    for file in EXAMPLES.glob("*.yaml"):
        assert list(yaml.safe_load_all(file.read_text())), file
    panels = json.loads((EXAMPLES / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
