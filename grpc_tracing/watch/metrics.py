"""What a scrape shows: all of it made anew each time, so that no series outlives what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from grpc_tracing.audit.result import Audit, Service, Word
from grpc_tracing.watch.core import Dropped, Known
from grpc_tracing.watch.counts import SERVICES, label
from grpc_tracing.watch.live import Live

_P: Final = "grpc_tracing"
_W: Final = "grpc_tracing_watch"


@dataclass(eq=False)
class Shown(Collector):
    """Of prometheus_client's registry."""

    live: Live

    def collect(self) -> Iterator[Metric]:
        known = self.live.known
        yield from _calls(known)
        yield from _verdicts(known.audit)
        yield from _read(known)
        yield from _freshness(self.live)
        yield from _memory(known)


def _calls(known: Known) -> Iterator[Metric]:
    counts = known.counts
    said = "Calls out of a service, each once: those that its sidecar saw, else those of its SDK."
    yield _counter(f"{_P}_calls_out", said, "service", counts.calls_out)
    yield _counter(f"{_P}_begun_calls", "Those of them that began a trace: cut, or a job's.", "service", counts.begun)
    cut = CounterMetricFamily(
        f"{_P}_cut_calls",
        "Those of them that are cut, as the window told when they were counted; an empty route is any, and where is "
        "in, inside or out of the SDK, or empty where only sidecars left spans.",
        labels=("service", "route", "where"),
    )
    for by, count in list(counts.cut.items()):
        cut.add_metric(by, count)
    yield cut


def _verdicts(audit: Audit | None) -> Iterator[Metric]:
    """Series for the services that are worst, so many at the most."""
    services = _named(audit)
    share = GaugeMetricFamily(f"{_P}_cut_share", "Cut calls to calls out, over the window.", labels=("service",))
    word = GaugeMetricFamily(f"{_P}_verdict", "1 for the verdict that holds, else 0.", labels=("service", "verdict"))
    for name, service in services.items():
        share.add_metric((name,), service.share or 0.0)
        for verdict in Word:
            word.add_metric((name, verdict.value), float(service.verdict is verdict))
    yield share
    yield word
    by_word = Counter(one.verdict.value for one in audit.services) if audit else Counter[str]()
    yield _gauge(
        f"{_P}_services", "Services in the window.", "verdict", {one.value: by_word[one.value] for one in Word}
    )


def _named(audit: Audit | None) -> dict[str, Service]:
    found: dict[str, Service] = {}
    for service in audit.services[:SERVICES] if audit else ():
        found.setdefault(label(service.service), service)
    return found


def _read(known: Known) -> Iterator[Metric]:
    yield CounterMetricFamily(f"{_W}_spans", "Spans that came, those dropped among them.", known.spans)
    yield CounterMetricFamily(f"{_W}_traces", "Traces, and pieces of them, that were taken to be whole.", known.traces)
    said = "Spans left out: without legal ids, a second time, or for want of memory."
    yield _counter(f"{_W}_spans_dropped", said, "reason", Counter({one.value: known.dropped[one] for one in Dropped}))
    said = "Traces taken to be whole before their time, for room."
    yield CounterMetricFamily(f"{_W}_traces_early", said, known.settling.early)
    yield CounterMetricFamily(f"{_W}_unread", "Parts of a backend's answers that could not be read.", known.unread)
    yield CounterMetricFamily(f"{_W}_names_folded", "Names that were too many, and became one.", known.names.folded)


def _freshness(live: Live) -> Iterator[Metric]:
    said = "When the window was judged last, with spans read up to then. 0: not yet."
    yield GaugeMetricFamily(f"{_W}_last_success_timestamp_seconds", said, live.succeeded)
    said = "For how long nothing is read: no span came for a step, or the backend does not answer. 0: it is."
    yield GaugeMetricFamily(f"{_W}_blind_seconds", said, live.sight.blind(live.clock()))
    said = "Time of which nothing was read and nothing will be."
    yield CounterMetricFamily(f"{_W}_lost_seconds", said, live.sight.lost)
    yield GaugeMetricFamily(f"{_W}_ready", "1 once a window was judged.", float(live.known.audit is not None))
    yield GaugeMetricFamily(f"{_W}_judge_seconds", "What the last judgement took.", live.known.took)
    yield CounterMetricFamily(f"{_W}_bytes", "Bytes of requests, unpacked.", live.receiver.read_bytes)
    yield _refused(live)
    yield CounterMetricFamily(f"{_W}_otlp_failures", "Times that --otlp-metrics could not be sent.", live.unsent)


def _refused(live: Live) -> Metric:
    said = "Requests that were not taken: unreadable, slow to come, too many at once, or given up by their sender."
    made = CounterMetricFamily(f"{_W}_requests_refused", said, labels=("protocol", "reason"))
    for refusal, count in list(live.receiver.refusals.items()):
        made.add_metric(refusal, count)
    return made


def _memory(known: Known) -> Iterator[Metric]:
    bounds = known.bounds
    yield GaugeMetricFamily(f"{_W}_window_seconds", "Of which spans are judged together.", bounds.window)
    yield GaugeMetricFamily(f"{_W}_window_held_seconds", "Of which there is evidence.", known.window.held)
    said = "Steps that left the window before their time, for want of memory."
    yield CounterMetricFamily(f"{_W}_steps_shortened", said, known.window.shortened)
    yield GaugeMetricFamily(f"{_W}_open_spans", "Of traces that may grow.", known.settling.spans)
    yield GaugeMetricFamily(f"{_W}_held_bytes", "Of all that is held, as estimated.", known.held)
    yield GaugeMetricFamily(f"{_W}_limit_bytes", "Of it at the most.", bounds.size)


def _counter(name: str, said: str, by: str, counts: Counter[str]) -> CounterMetricFamily:
    made = CounterMetricFamily(name, said, labels=(by,))
    for value, count in list(counts.items()):
        made.add_metric((value,), count)
    return made


def _gauge(name: str, said: str, by: str, amounts: dict[str, int]) -> GaugeMetricFamily:
    made = GaugeMetricFamily(name, said, labels=(by,))
    for value, amount in amounts.items():
        made.add_metric((value,), amount)
    return made
