"""What a test needs of the machine and does not find there."""

import os
from typing import NoReturn

import pytest

SKIPPED = {
    "docker": "the images, Compose, pods in containers; with an engine that answers",
    "kubectl": "what is rendered for Kubernetes, and what `apply.sh k8s` and `asm` do with a cluster",
    "chromium": "the trace pages in a browser",
    "npm": "the accessibility of the pages (axe-core, by `npm ci` in tests/store); the guide's example in Node.js",
    "node": "the guide's example in Node.js",
    "go": "the guide's example in Go",
    "java": "the guide's example in Java, which wants `javac` and `mvn` too",
    "javac": "",
    "mvn": "",
    "h2load": "a comparison of our load with its",
    "ghz": "a comparison of our load with its; its calls by reflection",
    "grpcurl": "its list, describe and calls by reflection",
    "grpcui": "its pages, with every descriptor, and its calls",
    "grpc-health-probe": "its question about our health",
    "buf": "the calls of `buf curl` by reflection",
    "jaeger": "the same spans through a real Jaeger 2 (`go build github.com/jaegertracing/jaeger/cmd/jaeger`)",
    "jaeger-all-in-one": "the same spans through a real Jaeger 1 (`github.com/jaegertracing/jaeger/cmd/all-in-one`)",
    "otelcol": "the same spans through the OpenTelemetry Collector and its file exporter; the watch behind one",
    "prometheus": "the watch scraped by a real Prometheus, with its alerts, which wants `promtool` too",
    "promtool": "",
    "jq": "the examples in docs/ci.md",
    "bash": "test.sh and the completions in bash",
}
"""By program: what is skipped without it; empty where another one's line says it. README.md shows the same."""

ELSE = (
    "Istio's resource definitions, in the file that `TALK_ISTIO_CRDS` names: whether what we write is valid by them",
    "Envoy, where it has no wheel: what its spans look like",
    "root: another user's folder, another user's pods, a container's process that is killed",
    "Zipkin's server, a jar that `ZIPKIN_JAR` names (io.zipkin:zipkin-server:jar:exec): the same spans through it",
    "Spark, in a Python that `SPARK_PYTHON` names (requirements/spark.lock), with Java: the audit by it",
    "Linux: `/dev/full`, and a supervisor that is killed",
    "a package registry for Node.js, Go or Java: the guide's example in that language, the audit of its SDK (not Go)",
)
"""What is skipped without something that is no program."""


def table() -> str:
    """As README.md shows it."""
    rows = [f"| `{program}` | {what} |" for program, what in SKIPPED.items() if what]
    return "\n".join(["| without | is skipped |", "| --- | --- |", *rows, *map(_row, ELSE)]) + "\n"


def _row(text: str) -> str:
    thing, _, what = text.partition(": ")
    return f"| {thing} | {what} |"


def missing(what: str) -> NoReturn:
    """Skips, but in CI, which has everything, fails."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
