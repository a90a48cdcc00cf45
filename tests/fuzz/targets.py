"""What the fuzzer calls, by name: each takes any bytes, and may refuse them only in its own words.

A target is made once and called again and again, as a process that serves is called. `SEEDS` are bodies that it takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote_from_bytes

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.datastructures import QueryParams
from starlette.requests import Request

from client.call.outcome import Outcome, hop_records
from client.call.rpc import RPCS, parsed
from client.call.verdict import Question, judge
from grpc_tracing.headers.families import HOP_RECORD
from grpc_tracing.spans.formats import otlp, zipkin
from grpc_tracing.spans.formats.otlp import MalformedError
from grpc_tracing.store import render, traceql, views
from grpc_tracing.store.asking import Form, Range
from grpc_tracing.store.calls import Call, CallLog, parse_calls
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.frame import Frame
from grpc_tracing.store.listing import Filter, Wanted, list_view
from grpc_tracing.store.pages import PageLinks
from grpc_tracing.store.query import BadParameterError, matches, parse_query
from grpc_tracing.store.receive import Chunks, Receiver
from grpc_tracing.store.store import Limits, TraceStore
from grpc_tracing.store.trace_status import Known, trace_statuses
from grpc_tracing.store.views_many import paths_view, topology_view
from protos import hop_pb2
from tests.client.evidence import answer
from tests.store.calls import talk_parts
from tests.store.support import export_request

Target = Callable[[bytes], None]

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_NOW = 1_795_360_529_648_318_111


def intake(parse: Callable[[bytes], ExportTraceServiceRequest]) -> Target:
    """Takes a body in, and shows the trace that came last on every page and in the query API."""
    store = TraceStore(Limits(traces=20, size=2**20, spans_per_trace=500))
    receiver = Receiver(Chunks(store))
    page = render.environment().get_template("waterfall.html").module

    def take(body: bytes) -> None:
        with suppress(MalformedError):
            receiver.take(parse(body))
            show(store, page)

    return take


def show(store: TraceStore, page: object) -> None:
    summaries = tuple(store.summaries())
    statuses = trace_statuses(summaries, Known(_NOW))
    among = Chosen.of(summaries, statuses)
    topology_view(among, _NOW)
    list_view(among, statuses, Wanted(Filter(state="broken"), group="root"))
    paths_view(among, "")
    by_id = {one.trace_id: one for one in summaries}
    for trace_id in tuple(by_id)[:1]:
        trace = store.trace(trace_id)
        assert trace
        page.waterfall(views.trace_view(trace, by_id, statuses[trace_id]), PageLinks())  # type: ignore[attr-defined]
        json.dumps(otlp.to_json(store.chunks(trace_id)))


def calls() -> Target:
    log = CallLog(100, 2**20)

    def take(body: bytes) -> None:
        with suppress(ValueError):
            noted: tuple[Call, ...] = parse_calls(body)
            log.add(noted, len(body))
            trace_statuses((), Known(_NOW, tuple(log)))

    return take


def queries() -> Target:
    """A query string, to the query APIs and to the pages' filter."""
    store = TraceStore(Limits())
    store.add(otlp.split(export_request(_TRACE, talk_parts(), _NOW))[0])
    trace, summaries = store.trace(_TRACE), tuple(store.summaries())
    statuses = trace_statuses(summaries, Known(_NOW))
    assert trace
    table = Frame.of(summaries, statuses).table()

    def ask(query: bytes) -> None:
        scope = {"type": "http", "query_string": quote_from_bytes(query, safe="&=%+").encode(), "headers": []}
        form, at = Form.of(Request(scope).query_params), Range.of(Request(scope).query_params)
        among = Chosen(table, table.since(*at.bounds(_NOW)))
        list_view(among, statuses, form.wanted, store.chunks)
        with suppress(BadParameterError):
            matches(trace, parse_query(QueryParams(query.decode("latin-1"))))
        with suppress(traceql.TraceQlError):
            traceql.parse(query.decode("latin-1"))(traceql.Spot(trace.spans[0], trace))

    return ask


def server() -> Target:
    """A hostile server's answer: records, messages and status text, as the requester reads and judges them."""
    question = Question(expected=("svc1", "svc2", "svc3"), custom=("x-lane",), required=("baggage",))

    def read(data: bytes) -> None:
        rpc, pieces = RPCS[data[0] % 4 if data else 0], list(_pieces(data[1:]))
        answers = [parsed(piece) for piece in pieces]
        outcome = Outcome(
            rpc=rpc,
            asked=(0, 1),
            sent=(("traceparent", f"00-{_TRACE}-00f067aa0ba902b7-01"), ("baggage", "a=1")),
            status="OK" if len(data) % 2 else "UNAVAILABLE",
            message=(pieces[0] if pieces else b"").decode("latin-1"),
            responses=tuple(one for one in answers if one),
            unreadable=answers.count(None),
            hops=hop_records((HOP_RECORD, piece) for piece in pieces),
        )
        json.dumps(judge(outcome, question).problems).encode()

    return read


def _pieces(data: bytes) -> Iterator[bytes]:
    """Each after a byte with its length."""
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        yield data[at + 1 : end]
        at = end


def _framed(*pieces: bytes) -> bytes:
    return b"\0" + b"".join(bytes([len(piece)]) + piece for piece in pieces)


def _records() -> Iterator[bytes]:
    for name in ("svc1", "svc2", "svc3"):
        header = hop_pb2.Header(key="traceparent", value=f"00-{_TRACE}-00f067aa0ba902b7-01".encode())
        yield hop_pb2.Hop(service=name, trace_id=_TRACE, headers=[header]).SerializeToString()


TARGETS: Mapping[str, Callable[[], Target]] = {
    "otlp_protobuf": lambda: intake(otlp.parse_protobuf),
    "otlp_json": lambda: intake(otlp.parse_json),
    "zipkin": lambda: intake(zipkin.parse),
    "calls": calls,
    "queries": queries,
    "server": server,
}


def seeds() -> Mapping[str, list[bytes]]:
    request = export_request(_TRACE, talk_parts(), _NOW)
    document = otlp.to_json(group.SerializeToString() for group in request.resource_spans)
    span = {"traceId": _TRACE, "id": "a1", "parentId": "b2", "kind": "SERVER", "name": "get", "timestamp": 1}
    more = {"duration": 7, "localEndpoint": {"serviceName": "a"}, "tags": {"error": "x"}, "remoteEndpoint": {"port": 1}}
    call = {"verdict": "broken", "trace_ids": [_TRACE], "hops": [{"service": "svc1", "headers": [{"key": "b3"}]}]}
    times = "query.startTimeMin=2026-01-31T10:00:00Z&query.startTimeMax=2200-01-01T00:00:00Z"
    return {
        "otlp_protobuf": [request.SerializeToString()],
        "otlp_json": [json.dumps(document).encode(), json.dumps({"batches": document["resourceSpans"]}).encode()],
        "zipkin": [json.dumps([span | more, {"traceId": _TRACE, "id": "a1", "annotations": []}]).encode()],
        "calls": [json.dumps([call]).encode()],
        "queries": [
            f"{times}&query.durationMin=1.5s&query.attributes={{}}".encode(),
            b"min=5ms&page=2&state=error",
            b'{(name=~"a|b.*" || .c!=nil) && duration>1.5s}',
        ],
        "server": [_framed(*_records()), _framed(answer(0).SerializeToString(), answer(1).SerializeToString())],
    }
