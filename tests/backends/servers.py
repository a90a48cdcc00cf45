"""The real servers of others, where the machine has them: each is started on free ports and ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.ports import free_ports
from tests.support.waiting import wait_for

JAEGER = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_storage: {{backends: {{here: {{memory: {{max_traces: 100000}}}}}}}}
  jaeger_query:
    storage: {{traces: here}}
    http: {{endpoint: "127.0.0.1:{pages}"}}
    grpc: {{endpoint: "127.0.0.1:{other}"}}
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: here}}
"""
COLLECTOR = """
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
  telemetry: {{metrics: {{level: none}}}}
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  file: {{path: {file}, flush_interval: 200ms}}
"""


def _program(found: str | None, name: str) -> str:
    """Skips by name: nothing installs it."""
    return found or pytest.skip(f"{name} is not on PATH")


def _zipkin_jar() -> str:
    """Maven Central's io.zipkin:zipkin-server, classifier exec, version 3."""
    jar = os.environ.get("ZIPKIN_JAR", "")
    if not Path(jar).is_file() or not shutil.which("java"):
        pytest.skip("ZIPKIN_JAR names no jar of Zipkin's server, or there is no java")
    return jar


@contextmanager
def jaeger(folder: Path) -> Iterator[tuple[str, str]]:
    """Jaeger 2 in memory: where it is asked, and where it takes OTLP."""
    command = _program(shutil.which("jaeger"), "jaeger")
    pages, otlp, other = free_ports(3)
    config = folder / "jaeger.yaml"
    config.write_text(JAEGER.format(pages=pages, otlp=otlp, other=other))
    url = f"http://127.0.0.1:{pages}"
    with _running([command, "--config", str(config)], folder, lambda: _answers(f"{url}/api/v3/services")):
        yield url, f"http://127.0.0.1:{otlp}/v1/traces"


@contextmanager
def jaeger1(folder: Path) -> Iterator[tuple[str, str]]:
    """Jaeger 1, all in one and in memory: where it is asked, and where it takes OTLP.

    Built from the Go module github.com/jaegertracing/jaeger v1.76.0, cmd/all-in-one; v1.76 is the last of Jaeger 1.
    """
    command = _program(shutil.which("jaeger-all-in-one"), "jaeger-all-in-one")
    pages, otlp = free_ports(2)
    address = {
        "query.http-server": pages,
        "collector.otlp.http": otlp,
        "collector.otlp.grpc": 0,
        "query.grpc-server": 0,
        "collector.http-server": 0,
        "collector.grpc-server": 0,
        "admin.http": 0,
    }
    flags = [f"--{name}.host-port=127.0.0.1:{port}" for name, port in address.items()]
    url = f"http://127.0.0.1:{pages}"
    with _running([command, *flags], folder, lambda: _answers(f"{url}/api/services")):
        yield url, f"http://127.0.0.1:{otlp}/v1/traces"


@contextmanager
def collector(folder: Path) -> Iterator[tuple[Path, str]]:
    """The OpenTelemetry Collector with its file exporter: the file, and where it takes OTLP."""
    command = _program(shutil.which("otelcol"), "otelcol")
    (otlp,) = free_ports(1)
    config, file = folder / "collector.yaml", folder / "collected.json"
    config.write_text(COLLECTOR.format(otlp=otlp, file=file))
    url = f"http://127.0.0.1:{otlp}/v1/traces"
    with _running([command, "--config", f"file:{config}"], folder, lambda: _answers(url)):
        yield file, url


@contextmanager
def zipkin(folder: Path) -> Iterator[str]:
    """Zipkin's own server, in memory."""
    command = ["java", "-Xmx512m", "-jar", _zipkin_jar()]
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder, lambda: _answers(f"{url}/health"), QUERY_PORT=str(port)):
        yield url


@contextmanager
def _running(command: Sequence[str], folder: Path, ready: Callable[[], bool], **settings: str) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, **settings})
    try:
        wait_for(lambda: process.poll() is not None or ready(), f"{command[0]} answers", timeout=120)
        assert process.poll() is None, log.read_text()[-2000:]
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    """Whatever it says of a GET."""
    try:
        return httpx.get(url, trust_env=False).status_code != 503
    except httpx.HTTPError:
        return False
