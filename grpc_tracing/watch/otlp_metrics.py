"""The same metrics by OTLP over HTTP, for who has no Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from prometheus_client.core import Metric

from grpc_tracing.backends.jaeger import without_secrets
from grpc_tracing.printable import one_line
from grpc_tracing.version import VERSION
from grpc_tracing.watch.live import Live, say
from grpc_tracing.watch.metrics import Shown

_WITHIN: Final = 10.0


@dataclass
class Sending:
    """Cumulative, so that a request that is lost loses nothing: the next one says it all."""

    live: Live
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    _began: int = field(default_factory=time.time_ns)
    _failed: bool = False

    async def send(self) -> None:
        """Says once that nobody takes them, and once that somebody does again."""
        body = request_of(Shown(self.live).collect(), self._began, time.time_ns()).SerializeToString()
        kind = ("content-type", "application/x-protobuf")
        try:
            async with httpx.AsyncClient(timeout=_WITHIN, trust_env=False) as http:
                answer = await http.post(self.url, content=body, headers=[kind, *self.headers])
            said = "" if answer.is_success else f"answered {answer.status_code}"
        except httpx.HTTPError as error:
            said = f"does not take them: {one_line(str(error)) or type(error).__name__}"
        self.live.unsent += bool(said)
        if bool(said) is not self._failed:
            self._failed = bool(said)
            where = one_line(without_secrets(self.url))
            say(f"metrics: {where} {said}" if said else f"metrics: {where} takes them again")


def request_of(metrics: Iterable[Metric], began: int, now: int) -> ExportMetricsServiceRequest:
    """`began` and `now` are Unix nanoseconds."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key="service.name").value.string_value = "grpc-tracing-watch"
    group.resource.attributes.add(key="service.version").value.string_value = VERSION
    scope = group.scope_metrics.add()
    scope.scope.name = "grpc_tracing"
    for metric in metrics:
        if metric.samples:
            _add(scope.metrics.add(name=metric.name, description=metric.documentation), metric, began, now)
    return request


def _add(made: metrics_pb2.Metric, metric: Metric, began: int, now: int) -> None:
    counts = metric.type == "counter"
    if counts:
        made.sum.is_monotonic = True
        made.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    points = made.sum.data_points if counts else made.gauge.data_points
    for sample in metric.samples:
        point = points.add(time_unix_nano=now, as_double=sample.value)
        if counts:
            point.start_time_unix_nano = began
        for key, value in sample.labels.items():
            point.attributes.add(key=key).value.string_value = value
