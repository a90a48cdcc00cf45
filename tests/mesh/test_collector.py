"""`up --collector`: the spans go to a backend of the user's own, beside the mesh's store or in its place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from grpc_tracing.store.receive_grpc import SERVICE
from tests.client.certificates import Files, issue
from tests.mesh.support import ANY_PORTS, call, mesh, run
from tests.store.support import running_store
from tests.support.waiting import wait_for

SECRET = "s3cret-token"  # noqa: S105


@dataclass
class Collector:
    """An OTLP service that counts spans by trace, and keeps the credentials that came."""

    port: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    credentials: set[object] = field(default_factory=set)

    def export(self, body: bytes, context: Any) -> bytes:
        self.credentials.add(dict(context.invocation_metadata()).get("authorization"))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.spans.update(span.trace_id.hex() for scope in group.scope_spans for span in scope.spans)
        return b""


@contextmanager
def collector(files: Files) -> Iterator[Collector]:
    """By TLS."""
    found = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(found.export)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": handler})])
    pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
    found.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield found
    finally:
        server.stop(1).wait()


@pytest.mark.full
def test_beside_the_store_both_have_every_span() -> None:
    with running_store() as own, mesh("--hops", "2", "--collector", own.otlp_grpc) as one:
        (trace_id,) = call(one.target).trace_ids
        assert len(one.spans(trace_id, 4)) == 4
        wait_for(lambda: len(own.spans(trace_id)) == 4, "the collector's own spans")


@pytest.mark.full
@pytest.mark.parametrize("store", [True, False], ids=["beside the store", "in its place"])
def test_by_tls_with_headers_that_nothing_shows(tmp_path: Path, store: bool) -> None:
    files = issue(tmp_path, "localhost")
    (tmp_path / "headers").write_text(f"Authorization: Bearer {SECRET}\nx-tenant: a\n")
    options = ["--collector-ca", files.ca, "--collector-headers", str(tmp_path / "headers")]
    options += [] if store else ["--no-store"]
    with collector(files) as own, mesh("--hops", "2", "--collector", f"127.0.0.1:{own.port}", *options) as one:
        (trace_id,) = call(one.target).trace_ids
        wait_for(lambda: own.spans[trace_id] == 4, "the collector's spans")
        assert own.credentials == {f"Bearer {SECRET}"}
        status = one.run("status", "--json").stdout
        assert (one.facts["traces"] is not None) is store
        commands = " ".join(word for name in one.pids for word in one.process(name).cmdline())
        assert SECRET not in status + json.dumps(one.facts) + commands


@pytest.mark.full
def test_headers_that_are_written_wrongly_are_one_line_and_nothing_stays_up(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text(SECRET)
    given = ("--collector", "a:1", "--collector-headers", str(tmp_path / "headers"))
    ended = run("-m", "mesh", "up", "--state", str(tmp_path / "m"), *ANY_PORTS, *given)
    assert ended.returncode == 1
    assert "--collector-headers: write it as 'Name: value'" in ended.stderr
    assert SECRET not in ended.stderr
