"""ClickHouse over the table of the OpenTelemetry exporter says what the streaming ledger says. chDB is its engine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from grpc_tracing.audit.facts import fact
from grpc_tracing.engines import clickhouse, evidence
from grpc_tracing.spans.model import Kind, Span
from tests.audit.traffic import BEGIN, MS
from tests.engines import heavy, otel
from tests.engines.chdb_password import PASSWORD
from tests.engines.same import CORPORA, held, streamed, text
from tests.support.spans import make

pytestmark = pytest.mark.long
ALL = (-(10**18), 4 * 10**18)


@dataclass(frozen=True)
class Chdb:
    port: int

    @property
    def server(self) -> clickhouse.Server:
        return clickhouse.server(f"clickhouse://me:{PASSWORD}@127.0.0.1:{self.port}/otel")

    def run(self, query: str) -> None:
        url, headers = f"http://127.0.0.1:{self.port}/", {"X-ClickHouse-Key": PASSWORD}
        httpx.post(url, content=query.encode(), headers=headers, timeout=120).raise_for_status()

    def hold(self, spans: list[Span]) -> None:
        otel.create(self.run)
        self.run("TRUNCATE TABLE otel.otel_traces")
        otel.insert(self.run, spans)


@pytest.fixture(scope="module")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chdb]:
    command = [heavy.python(tmp_path_factory), str(Path(__file__).with_name("chdb_server.py")), PASSWORD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield Chdb(int(process.stdout.readline()))
        process.kill()


@pytest.mark.parametrize("what", CORPORA)
def test_clickhouse_says_what_the_streaming_ledger_says(what: str, chdb: Chdb) -> None:
    spans = [otel.span_of(one) for one in CORPORA[what]()]
    chdb.hold(spans)
    with clickhouse.opened(chdb.server, ALL) as engine:
        found = evidence.collect(engine)
    expected = streamed(fact(span) for span in spans)
    assert text(found) == text(expected)
    assert held(found) == held(expected)


NODE = "sidecar~10.0.0.1~cart-6d4f9c7b8d-x2x4z.shop~shop.svc.cluster.local"
READINGS: dict[str, dict[str, str]] = {
    "a path": {"grpc.path": "//shop.Cart/Get"},
    "RPC attributes": {"rpc.service": "shop.Cart", "rpc.method": "Get"},
    "a method alone": {"rpc.method": "/shop.Cart/Get"},
    "a URL": {"http.url": "http://cart:80/shop.Cart/Get?a=1?b"},
    "a URL without a path": {"http.url": "http://cart"},
    "a path of a URL": {"url.path": "/shop.Cart/Get?a"},
    "Istio's cluster": {"upstream_cluster.name": "outbound|80||stock.shop.svc.cluster.local;"},
    "a cluster that ends with a bar": {"peer.service": "outbound|80||"},
    "Istio's node": {"node_id": NODE, "guid:x-request-id": "a" * 300},
    "another node": {"node_id": "cart-6d4f9c7b8d-x2x4z", "service.version": "latest"},
    "a pod of its own": {"k8s.pod.name": "cart-6d4f9c7b8d-x2x4z", "x-request-id": "1"},
    "long names": {"grpc.path": "é" * 300, "peer.service": "ü" * 300},
    "quotes": {"grpc.path": "a'b\\c", "peer.service": 'd"e`f'},
}


@pytest.mark.parametrize("kind", [Kind.CLIENT, Kind.SERVER, Kind.UNSPECIFIED])
@pytest.mark.parametrize("what", READINGS)
def test_a_span_is_read_in_sql_as_it_is_in_python(what: str, kind: Kind, chdb: Chdb) -> None:
    span = make("a" * 32, "1" * 16, "", "cart", "Get", "server", BEGIN, BEGIN + MS, False, **READINGS[what])
    span = replace(span, kind=kind)
    chdb.hold([span])
    with clickhouse.opened(chdb.server, ALL) as engine:
        (row,) = engine.rows(f"{clickhouse.GIVEN} FROM otel.otel_traces").to_pylist()
    read = fact(span)._asdict()
    read |= {"start_ns": read.pop("start"), "end_ns": read.pop("end")}
    assert row == read
