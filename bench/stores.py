"""A trace store of its own, for what is measured of its pages."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx


@contextmanager
def store(*options: str) -> Iterator[tuple[Mapping[str, str], int]]:
    """Where it listens, by protocol, and its process id."""
    ports = [word for name in ("--http", "--otlp-grpc", "--otlp-http") for word in (name, "127.0.0.1:0")]
    command = [sys.executable, "-m", "grpc_tracing", "store", *ports, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            yield json.loads(process.stderr.readline()), process.pid
        finally:
            process.terminate()


def send(client: httpx.Client, otlp_http: str, body: bytes) -> None:
    """Spans as protobuf. Raises what httpx raises where they are not taken."""
    url, kind = f"http://{otlp_http}/v1/traces", "application/x-protobuf"
    client.post(url, content=body, headers={"content-type": kind}).raise_for_status()
