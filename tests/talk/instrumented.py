"""Services under auto-instrumentation, in an environment of its own: it would reach into pytest's process otherwise."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import settings
from tests.support.processes import ROOT, Service, started, variables
from tests.support.stub import Metadata

TOOLS: Mapping[str, Mapping[str, str]] = {
    "opentelemetry-instrument": {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    },
    "ddtrace-run": {
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
        "DD_TRACE_WRITER_INTERVAL_SECONDS": "3600",  # there is no agent to send spans to
    },
}
"""Command, and its settings: spans are made, and go nowhere."""

NEEDS = [
    pytest.mark.full,
    pytest.mark.skipif(
        sys.platform != "linux" or sys.version_info >= (3, 15), reason="ddtrace has no wheel for this machine"
    ),
]
"""Marks of tests that run a tool."""

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SENT: Metadata = [
    ("traceparent", f"00-{TRACE}-{PARENT}-01"),
    ("tracestate", "rojo=00f067aa0ba902b7"),
    ("baggage", "userId=alice"),
    ("x-datadog-trace-id", str(int(TRACE[16:], 16))),
    ("x-datadog-parent-id", str(int(PARENT, 16))),
    ("x-datadog-sampling-priority", "1"),
    ("x-datadog-tags", f"_dd.p.tid={TRACE[:16]}"),
    ("x-lane", "canary"),
]
"""What a caller sends: a trace in the families of both tools, and a lane, which neither knows."""


@dataclass(frozen=True)
class Tool:
    """One of TOOLS, installed."""

    name: str
    folder: Path

    @contextmanager
    def chain(self, folder: Path, last: str) -> Iterator[tuple[Service, Service]]:
        """svc1 and svc2 under the tool, in front of the last hop at `last`."""
        with ExitStack() as stack:
            svc2 = stack.enter_context(self._service("svc2", folder, f"unix:{folder}/svc2", last))
            svc1 = stack.enter_context(self._service("svc1", folder, "127.0.0.1:0", f"unix:{folder}/svc2"))
            yield svc1, svc2

    @contextmanager
    def _service(self, name: str, folder: Path, listen: str, next_hop: str) -> Iterator[Service]:
        command = [str(self.folder / "bin" / self.name), str(self.folder / "bin" / "python"), "-m", name]
        settings = variables({"listen": listen, "next_hop": next_hop})
        with started(command, folder / f"{name}.log", {**TOOLS[self.name], **settings}) as one:
            yield one


def install(folder: Path) -> None:
    """An environment with the services' packages and both tools."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    lock = ROOT / "requirements" / "instrumented.lock"
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes", "-r", str(lock)],
    ):
        done = subprocess.run(
            command, env=settings.for_uv(settings.read(sys.executable)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
