"""The simulated shop as a load: its spans by OTLP, as they end, for as long as is wanted.

``python -m bench.audit.live HOST:PORT --spans 5000 --seconds 600 [--cutters 0]`` prints how many were sent and taken.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from bench.audit.shop import BEGIN, Scene, build
from grpc_tracing.audit.facts import Fact
from grpc_tracing.spans.model import Kind

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_SECOND: Final = 1_000_000_000
_TICK: Final = _SECOND // 4
_MINUTE: Final = 60
_BY_EDGE: Final = 71.0
"""Spans that a call at the edge leaves, of 50 services without disturbance."""
_KINDS: Final = tuple(Kind)
_UNDER_WAY: Final = 64
_Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Spans that end within a tick, serialized; where in it what differs from minute to minute stands."""

    body: bytes
    spans: int
    traces: _Offsets
    times: _Offsets
    """Starts, then ends."""
    requests: _Offsets
    moments: NDArray[np.int64]
    """Unix nanoseconds at `times`."""

    def at(self, minute: int, shift: int) -> bytes:
        """The spans of that minute: other traces and request ids, `shift` ns later."""
        buffer = np.frombuffer(bytearray(self.body), np.uint8)
        buffer[self.traces[:, None] + np.arange(2)] ^= np.frombuffer(minute.to_bytes(2), np.uint8)
        buffer[self.requests[:, None] + np.arange(4)] = np.frombuffer(f"{minute:04x}".encode(), np.uint8)
        moments = (self.moments + shift).astype("<i8").view(np.uint8).reshape(-1, 8)
        buffer[self.times[:, None] + np.arange(8)] = moments
        return buffer.tobytes()


def batches(facts: Sequence[Fact]) -> list[Batch]:
    """By ticks from the shop's beginning."""
    by_tick = groupby(sorted(facts, key=lambda one: one.end), key=lambda one: (one.end - BEGIN) // _TICK)
    found = {tick: _batch(list(group)) for tick, group in by_tick}
    nothing = np.zeros(0, np.int64)
    return [found.get(tick, Batch(b"", 0, *[nothing] * 4)) for tick in range(max(found) + 1)]


def _batch(facts: list[Fact]) -> Batch:
    facts = sorted(facts, key=lambda one: one.instance)
    request = ExportTraceServiceRequest()
    for _, group in groupby(facts, key=lambda one: one.instance):
        _write(request.resource_spans.add(), list(group))
    body = request.SerializeToString(deterministic=True)
    at, places = 0, []
    for one in facts:
        trace = body.index(bytes.fromhex(one.trace_id), at)
        start = body.index(b"\x39" + one.start.to_bytes(8, "little"), trace) + 1
        end = body.index(b"\x41" + one.end.to_bytes(8, "little"), start) + 1
        at = body.index(_request_id(one).encode(), end)
        places.append((trace + 8, start, end, at))
    columns = np.array(places, np.int64).T
    moments = np.array([[one.start for one in facts], [one.end for one in facts]], np.int64)
    return Batch(body, len(facts), columns[0], columns[1:3].ravel(), columns[3], moments.ravel())


def _request_id(one: Fact) -> str:
    """Its first four digits are for the minute."""
    return f"0000{int(one.request_id, 16) % (1 << 62):016x}"


def _write(group: ResourceSpans, facts: list[Fact]) -> None:
    first = facts[0]
    for key, value in (
        ("service.name", first.service),
        ("service.version", first.version),
        ("telemetry.sdk.language", "cpp"),
        ("telemetry.sdk.name", "envoy"),
        ("k8s.cluster.name", "Kubernetes"),
    ):
        group.resource.attributes.add(key=key).value.string_value = value
    scope = group.scope_spans.add()
    for one in facts:
        span = scope.spans.add(
            trace_id=bytes.fromhex(one.trace_id),
            span_id=bytes.fromhex(one.span_id),
            parent_span_id=bytes.fromhex(one.parent_id),
            name=f"{one.target or one.service}.shop.svc.cluster.local:9996/*",
            kind=_KINDS.index(one.kind),
            start_time_unix_nano=one.start,
            end_time_unix_nano=one.end,
        )
        for key, value in _attributes(one).items():
            span.attributes.add(key=key).value.string_value = value


def _attributes(one: Fact) -> dict[str, str]:
    """As Istio's sidecars write them."""
    cluster = f"outbound|9996||{one.target}.shop.svc.cluster.local" if one.target else "inbound|9996||"
    return {
        "node_id": f"sidecar~10.244.1.17~{one.instance}.shop~shop.svc.cluster.local",
        "zone": "zone-a",
        "guid:x-request-id": _request_id(one),
        "http.url": f"http://{one.target or one.service}.shop.svc.cluster.local:9996/{one.route}",
        "http.method": "POST",
        "downstream_cluster": "-",
        "user_agent": "grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)",
        "http.protocol": "HTTP/2",
        "grpc.path": f"/{one.route}",
        "grpc.authority": f"{one.target or one.service}.shop.svc.cluster.local:9996",
        "request_size": "17",
        "http.status_code": "200",
        "grpc.status_code": "0",
        "response_size": "121",
        "response_flags": "-",
        "upstream_cluster": cluster,
        "upstream_cluster.name": cluster,
        "peer.address": "10.244.1.23",
        "component": "proxy",
        "istio.canonical_service": one.service,
    }


@dataclass
class Sent:
    """What was sent, and what the other side did not take."""

    spans: int = 0
    requests: int = 0
    rejected: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    late: float = 0.0
    """Seconds by which a request went out late, at most."""

    def take(self, answer: Any) -> None:
        try:
            self.rejected += ExportTraceServiceResponse.FromString(answer.result()).partial_success.rejected_spans
        except grpc.RpcError as error:
            self.failed[f"{error.code()}: {error.details()}"] += 1


def send(target: str, ticks: Sequence[Batch], seconds: float, first_minute: int = 0) -> Sent:
    """In time, a minute of the shop after the other; waits where too many requests are under way."""
    sent, under_way = Sent(), deque[Any]()
    began, by_minute = time.time_ns(), _MINUTE * _SECOND // _TICK
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        for tick in range(int(seconds * _SECOND) // _TICK):
            due = began + (tick + 1) * _TICK
            time.sleep(max(0, due - time.time_ns()) / _SECOND)
            sent.late = max(sent.late, (time.time_ns() - due) / _SECOND)
            for minute, batch in _due(ticks, tick, by_minute):
                body = batch.at(first_minute + minute, began - BEGIN + minute * _MINUTE * _SECOND)
                under_way.append(call.future(body, timeout=60))
                sent.spans += batch.spans
                sent.requests += 1
            while len(under_way) > _UNDER_WAY or (under_way and under_way[0].done()):
                sent.take(under_way.popleft())
        while under_way:
            sent.take(under_way.popleft())
    return sent


def _due(ticks: Sequence[Batch], tick: int, by_minute: int) -> Iterator[tuple[int, Batch]]:
    """Calls of one minute may end in the next."""
    for minute in range(max(0, (tick - len(ticks)) // by_minute), tick // by_minute + 1):
        at = tick - minute * by_minute
        if at < len(ticks) and ticks[at].spans:
            yield minute, ticks[at]


def shop(spans: float, cutters: int, seed: int) -> list[Batch]:
    """Some so many spans a second, of which so many services cut traces."""
    scene = Scene("live", cutters=cutters, rate=spans / _BY_EDGE, seconds=_MINUTE)
    return batches(build(scene, seed).facts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audit.live", description=__doc__)
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--spans", type=float, default=5_000, help="a second [%(default)s]")
    parser.add_argument("--seconds", type=float, default=600, help="[%(default)s]")
    parser.add_argument("--cutters", type=int, default=8, help="services that cut traces [%(default)s]")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--minute", type=int, default=0, help="the first one's number: another run's traces differ")
    given = parser.parse_args()
    ticks = shop(given.spans, given.cutters, given.seed)
    sent = send(given.target, ticks, given.seconds, given.minute)
    print(json.dumps(vars(sent)))


if __name__ == "__main__":
    main()
