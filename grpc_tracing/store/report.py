"""The views as one self-contained HTML file: no script, no network, to attach to a ticket."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from grpc_tracing.spans.formats import otlp
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store import views
from grpc_tracing.store.calls import Call, parse_call
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.listing import Wanted, list_view
from grpc_tracing.store.render import Style, environment
from grpc_tracing.store.store import read_trace
from grpc_tracing.store.summary import Summary, summarize
from grpc_tracing.store.suspects import Suspects
from grpc_tracing.store.trace_status import Known, TraceStatus, trace_statuses
from grpc_tracing.store.views_call import CallView, call_view, chosen
from grpc_tracing.store.views_many import paths_view, topology_view


@dataclass(frozen=True, slots=True)
class ReportLinks:
    """Places in this file, which has the traces of these ids."""

    ids: Collection[str]
    paths: None = None
    """One file has no page of one path."""

    def node(self, name: str) -> str:  # noqa: ARG002 - one file has no page of one node
        return ""

    def trace(self, trace_id: str) -> str:
        """Empty for a trace that is not here, as one that a span is linked to."""
        return f"#trace-{trace_id}" if trace_id in self.ids else ""

    def one(self, trace_id: str, key: str) -> str:  # noqa: ARG002 - one file has no pages of spans
        return ""

    def events(self, trace_id: str, span_id: str) -> str:  # noqa: ARG002 - one file has no pages of events
        return ""

    def traces(self, **_: str) -> str:
        return "#traces"

    def json(self, trace_id: str) -> str:
        return f"#trace-{trace_id}"

    def raw(self, trace_id: str) -> str:  # noqa: ARG002 - one file shows a trace one way
        return ""


def render(
    documents: Iterable[Mapping[str, Any]], calls: Iterable[Mapping[str, Any]] = (), title: str = "Traces"
) -> str:
    """The whole file as text.

    `documents` are OTLP's JSON as the query API gives it (`{"resourceSpans": […]}`), a trace's spans in any number of
    them; `calls` what `POST /api/calls` takes. Raises ValueError for what is neither.
    """
    traces = _assemble(documents)
    summaries = sorted((summarize(trace) for trace in traces.values()), key=lambda one: one.start_ns, reverse=True)
    noted = [parse_call(call) for call in calls]
    return _write(title, traces, summaries, noted, trace_statuses(summaries, Known(2**63, tuple(noted))))


def _call(
    traces: Mapping[str, Trace], by_id: Mapping[str, Summary], statuses: Mapping[str, TraceStatus], trace_id: str
) -> CallView:
    """The call that left this trace; sewn together beside its first piece alone."""
    status = statuses[trace_id]
    first = min([trace_id, *status.siblings], key=lambda one: by_id[one].start_ns)
    pieces, left_out = chosen(by_id[trace_id], [by_id[one] for one in status.siblings] if first == trace_id else [])
    return call_view([traces[one] for one in pieces], status, Suspects(), left_out)


def _assemble(documents: Iterable[Mapping[str, Any]]) -> dict[str, Trace]:
    chunks: dict[str, list[bytes]] = {}
    for document in documents:
        for chunk in otlp.split(otlp.from_document(document))[0]:
            chunks.setdefault(chunk.trace_id, []).append(chunk.data)
    return {trace_id: read_trace(kept) for trace_id, kept in chunks.items()}


def _write(
    title: str,
    traces: Mapping[str, Trace],
    summaries: list[Summary],
    calls: list[Call],
    statuses: Mapping[str, TraceStatus],
) -> str:
    by_id = {one.trace_id: one for one in summaries}
    beside = {trace_id: _call(traces, by_id, statuses, trace_id) for trace_id in by_id}
    chosen = Chosen.of(summaries, statuses)
    end = max((one.start_ns + one.duration_ns for one in summaries), default=0)
    return (
        environment()
        .get_template("report.html")
        .render(
            title=title,
            links=ReportLinks(by_id),
            style=Style.read(),
            topology=topology_view(chosen, end),
            listing=list_view(chosen, statuses, Wanted(per_page=max(1, len(summaries)))),
            paths=paths_view(chosen, ""),
            traces=[views.trace_view(traces[trace_id], by_id, statuses[trace_id]) for trace_id in by_id],
            calls=beside,
            unseen=[call for call in calls if not any(trace_id in by_id for trace_id in call.trace_ids)],
        )
    )
