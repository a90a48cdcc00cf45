"""Spans in, by every way the store knows; what is no span is refused, counted, and nothing stops."""

import base64
import gzip
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.store.calls import new_id, talk_parts
from tests.store.support import Store, attributes_of, export_request, grpc_export, running_store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PROTOBUF = {"content_type": "application/x-protobuf"}
JSON = {"content_type": "application/json"}
GZIP = {"content_encoding": "gzip"}
OTLP, ZIPKIN = "/v1/traces", "/api/v2/spans"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        yield running


def otlp_json(request: ExportTraceServiceRequest) -> bytes:
    from grpc_tracing.spans.formats import otlp

    return json.dumps(otlp.to_json(group.SerializeToString() for group in request.resource_spans)).encode()


def by_grpc(store: Store, request: ExportTraceServiceRequest) -> None:
    with grpc_export(store) as export:
        export(request.SerializeToString())


def by_grpc_gzip(store: Store, request: ExportTraceServiceRequest) -> None:
    with grpc_export(store, grpc.Compression.Gzip) as export:
        export(request.SerializeToString())


def by_http(store: Store, request: ExportTraceServiceRequest) -> None:
    store.export(request)


def by_http_gzip(store: Store, request: ExportTraceServiceRequest) -> None:
    body = gzip.compress(request.SerializeToString())
    assert store.post(OTLP, body, **PROTOBUF, **GZIP).status_code == 200


def by_http_deflate(store: Store, request: ExportTraceServiceRequest) -> None:
    body = zlib.compress(request.SerializeToString())
    assert store.post(OTLP, body, **PROTOBUF, content_encoding="deflate").status_code == 200


def by_http_zstd(store: Store, request: ExportTraceServiceRequest) -> None:
    body = zstd.compress(request.SerializeToString())
    assert store.post(OTLP, body, **PROTOBUF, content_encoding="zstd").status_code == 200


def by_json(store: Store, request: ExportTraceServiceRequest) -> None:
    answer = store.post(OTLP, otlp_json(request), content_type="application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize("send", [by_grpc, by_grpc_gzip, by_http, by_http_gzip, by_http_deflate, by_http_zstd, by_json])
def test_what_is_sent_by_otlp_is_what_the_query_api_tells(
    store: Store, send: Callable[[Store, ExportTraceServiceRequest], None]
) -> None:
    trace_id, parts = new_id(16), talk_parts()
    request = export_request(trace_id, parts, start_ns=1_795_360_529_648_318_111)
    send(store, request)
    told = {span["spanId"]: span for span in store.spans(trace_id)}
    assert [told[part.span_id]["service"] for part in parts] == [part.service for part in parts]
    assert [told[part.span_id].get("parentSpanId", "") for part in parts] == [part.parent_id for part in parts]
    assert [told[part.span_id]["kind"] for part in parts] == [part.kind for part in parts]
    assert [attributes_of(told[part.span_id]) for part in parts] == [part.attributes for part in parts]
    assert told[parts[0].span_id]["startTimeUnixNano"] == "1795360529648318111"


def zipkin_span(trace_id: str, **more: object) -> dict[str, object]:
    return {
        "traceId": trace_id,
        "id": "a1",
        "parentId": "b2",
        "kind": "SERVER",
        "name": "get",
        "timestamp": 1_795_360_531_445_647,
        "duration": 722,
        "localEndpoint": {"serviceName": "svc2", "ipv4": "127.0.0.1"},
        "tags": {"grpc.status_code": "5", "error": "true"},
        "annotations": [{"timestamp": 1_795_360_531_446_395, "value": "ss"}],
        **more,
    }


@pytest.mark.parametrize("size", [8, 16])
def test_a_zipkin_span_is_read_with_short_ids_padded(store: Store, size: int) -> None:
    trace_id = new_id(size)
    assert store.post(ZIPKIN, json.dumps([zipkin_span(trace_id)]).encode(), **JSON).status_code == 202
    (span,) = store.spans(trace_id.zfill(32))
    assert (span["service"], span["kind"], span["name"]) == ("svc2", 2, "get")
    assert (span["spanId"], span["parentSpanId"]) == ("00000000000000a1", "00000000000000b2")
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1795360531445647000", "1795360531446369000")
    assert (span["status"]["code"], attributes_of(span)["grpc.status_code"]) == (2, "5")
    assert span["events"] == [{"timeUnixNano": "1795360531446395000", "name": "ss"}]


BAD_ID = {"traceId": "aa" * 16, "spanId": "00" * 8}
V1_ANNOTATION = {"timestamp": 1, "value": "sr", "endpoint": {"serviceName": "svc2"}}
WHOLE = export_request(new_id(16), talk_parts()).SerializeToString()
ZSTD = {"content_encoding": "zstd"}
WIDE_WINDOW = bytes.fromhex("28b52ffd 00 a0 010000")
"""A frame that asks for a window of 2^30 bytes, with an empty block."""


def zstd_of_zeros(size: int) -> bytes:
    packer = zstd.ZstdCompressor()
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000))
    return packed + packer.flush()


REFUSED: list[tuple[str, str, bytes, dict[str, str], int]] = [
    ("otlp no protobuf", OTLP, b"\xff\xff", PROTOBUF, 400),
    ("otlp cut short", OTLP, WHOLE[:-3], PROTOBUF, 400),
    ("otlp no JSON", OTLP, b"{", JSON, 400),
    ("otlp JSON list", OTLP, b"[1]", JSON, 400),
    ("otlp JSON number", OTLP, b'{"resourceSpans": 1}', JSON, 400),
    ("otlp JSON deep", OTLP, b"[" * 200_000, JSON, 400),
    ("otlp JSON no hex", OTLP, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}', JSON, 400),
    ("otlp JSON wrong type", OTLP, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}', JSON, 400),
    ("otlp JSON half", OTLP, rb'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"\ud800"}]}]}]}', JSON, 400),
    ("otlp JSON huge", OTLP, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"status":{"code":1e400}}]}]}]}', JSON, 400),
    ("otlp no UTF-8", OTLP, b'{"resourceSpans": "\xff"}', JSON, 400),
    ("otlp 20 MB", OTLP, b"x" * 20_000_000, PROTOBUF, 413),
    ("otlp JSON 20 MB", OTLP, b" " * 20_000_000, JSON, 413),
    ("otlp no gzip", OTLP, b"plain", PROTOBUF | GZIP, 400),
    ("otlp gzip cut short", OTLP, gzip.compress(WHOLE)[:-5], PROTOBUF | GZIP, 400),
    ("otlp gzip of 1 GB", OTLP, gzip.compress(bytes(1_000_000_000), 1), PROTOBUF | GZIP, 413),
    ("otlp no zstd", OTLP, b"plain", PROTOBUF | ZSTD, 400),
    ("otlp zstd cut short", OTLP, zstd.compress(WHOLE)[:-5], PROTOBUF | ZSTD, 400),
    ("otlp zstd of 1 GB", OTLP, zstd_of_zeros(1_000_000_000), PROTOBUF | ZSTD, 413),
    ("otlp zstd with a window of 1 GiB", OTLP, WIDE_WINDOW, PROTOBUF | ZSTD, 400),
    ("otlp no deflate", OTLP, b"plain", PROTOBUF | {"content_encoding": "deflate"}, 400),
    ("otlp brotli", OTLP, WHOLE, PROTOBUF | {"content_encoding": "br"}, 415),
    ("otlp as text", OTLP, WHOLE, {"content_type": "text/plain"}, 415),
    ("otlp untyped", OTLP, WHOLE, {}, 415),
    ("zipkin no JSON", ZIPKIN, b"\x00\x01", JSON, 400),
    ("zipkin object", ZIPKIN, b"{}", JSON, 400),
    ("zipkin numbers", ZIPKIN, b"[1, 2]", JSON, 400),
    ("zipkin no id", ZIPKIN, b'[{"traceId": "aa"}]', JSON, 400),
    ("zipkin long id", ZIPKIN, json.dumps([zipkin_span("a" * 40)]).encode(), JSON, 400),
    ("zipkin zero id", ZIPKIN, json.dumps([zipkin_span("aa"), zipkin_span("0")]).encode(), JSON, 400),
    ("zipkin id no hex", ZIPKIN, json.dumps([zipkin_span("aa", id="zz")]).encode(), JSON, 400),
    ("zipkin odd time", ZIPKIN, json.dumps([zipkin_span("aa", timestamp="noon")]).encode(), JSON, 400),
    ("zipkin huge time", ZIPKIN, json.dumps([zipkin_span("aa", timestamp=10**30)]).encode(), JSON, 400),
    ("zipkin endless time", ZIPKIN, json.dumps([zipkin_span("aa", timestamp=float("inf"))]).encode(), JSON, 400),
    ("zipkin tags list", ZIPKIN, json.dumps([zipkin_span("aa", tags=[1])]).encode(), JSON, 400),
    ("zipkin v1 tags", ZIPKIN, json.dumps([zipkin_span("aa", binaryAnnotations=[])]).encode(), JSON, 400),
    ("zipkin v1 path", "/api/v1/spans", b"[]", JSON, 400),
    ("zipkin 20 MB", ZIPKIN, b"x" * 20_000_000, JSON, 413),
    ("zipkin protobuf", ZIPKIN, b"\x0a\x00", PROTOBUF, 415),
]


NOTHING_KEPT: list[tuple[str, str, object, str]] = [
    ("Jaeger's UI", OTLP, {"data": [{"traceID": "aa", "spans": [{}]}]}, "the JSON of Jaeger's UI (data)"),
    ("snake case", OTLP, {"resource_spans": [{}]}, "resourceSpans, not resource_spans"),
    ("logs", OTLP, {"resourceLogs": [{}]}, "there is no resourceSpans"),
    ("no span", OTLP, {"resourceSpans": [{"scopeSpans": []}]}, "there is none in it"),
    ("bad ids alone", OTLP, {"resourceSpans": [{"scopeSpans": [{"spans": [BAD_ID]}]}]}, "a trace id has 16 bytes"),
    ("zipkin v1", ZIPKIN, [zipkin_span("aa", annotations=[V1_ANNOTATION])], "Zipkin's format of version 1"),
]


@pytest.mark.parametrize(
    ("path", "document", "said"), [row[1:] for row in NOTHING_KEPT], ids=[row[0] for row in NOTHING_KEPT]
)
def test_a_body_of_which_nothing_is_kept_is_refused_by_name(
    store: Store, path: str, document: object, said: str
) -> None:
    answer = store.post(path, json.dumps(document).encode(), **JSON)
    assert (answer.status_code, said in answer.json()["message"]) == (400, True), answer.text


@pytest.mark.parametrize("body", [b"\x12\x00", b"\x0a\x00"], ids=["no resource_spans", "an empty group"])
def test_so_is_protobuf_without_a_span(store: Store, body: bytes) -> None:
    assert store.post(OTLP, body, **PROTOBUF).status_code == 400
    with grpc_export(store) as export, pytest.raises(grpc.RpcError) as caught:
        export(body)
    failed: Any = caught.value
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_without_anything_is_no_error_as_otlp_has_it(store: Store) -> None:
    assert store.post(OTLP, b"", **PROTOBUF).status_code == 200
    assert store.post(OTLP, b"{}", **JSON).status_code == 200


def in_result(groups: list[Any]) -> object:
    return {"result": {"resourceSpans": groups}}


def in_batches(groups: list[Any]) -> object:
    return {"batches": groups}


def in_base64(groups: list[Any]) -> object:
    for group in groups:
        for span in group["scopeSpans"][0]["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                span[key] = base64.b64encode(bytes.fromhex(span.get(key, ""))).decode()
    return {"trace": {"resourceSpans": groups}}


@pytest.mark.parametrize("wrap", [in_result, in_batches, in_base64])
def test_what_a_query_api_answered_is_taken_in(store: Store, wrap: Callable[[list[Any]], object]) -> None:
    trace_id, parts = new_id(16), talk_parts()
    groups = json.loads(otlp_json(export_request(trace_id, parts)))["resourceSpans"]
    assert store.post(OTLP, json.dumps(wrap(groups)).encode(), **JSON).status_code == 200
    told = {span["spanId"]: span.get("parentSpanId", "") for span in store.spans(trace_id)}
    assert told == {part.span_id: part.parent_id for part in parts}


def test_a_zipkin_tag_may_be_a_number_and_the_remote_endpoint_is_the_peer(store: Store) -> None:
    trace_id = new_id(16)
    remote = {"serviceName": "svc3", "ipv4": "10.0.0.3", "port": 9996}
    span = zipkin_span(trace_id, kind="CLIENT", tags={"retries": 2, "tls": True}, remoteEndpoint=remote)
    assert store.post(ZIPKIN, json.dumps([span]).encode(), **JSON).status_code == 202
    (told,) = store.spans(trace_id)
    attributes = attributes_of(told)
    assert (attributes["retries"], attributes["tls"]) == ("2", "true")
    peer = ("peer.service", "network.peer.address", "network.peer.port")
    assert [attributes[key] for key in peer] == ["svc3", "10.0.0.3", "9996"]
    assert "svc3" in store.get(f"/trace/{trace_id}").text


def test_a_zipkin_span_that_comes_in_parts_is_one_span_with_all_of_them(store: Store) -> None:
    trace_id = new_id(16)
    late = {"traceId": trace_id, "id": "a1", "tags": {"late": "yes"}, "localEndpoint": {"serviceName": "svc2"}}
    for span in (zipkin_span(trace_id), late):
        assert store.post(ZIPKIN, json.dumps([span]).encode(), **JSON).status_code == 202
    page = store.get(f"/trace/{trace_id}").text
    assert "Waterfall: 1 spans" in page
    assert all(told in page for told in ("late", "svc2", "722 µs", "grpc.status_code"))


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_is_no_span_is_refused_counted_and_changes_nothing(
    store: Store, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = store.health()
    answer = store.post(path, body, **headers)
    after = store.health()
    assert answer.status_code == status, answer.text
    assert sum(after["refused"]["requests"].values()) == sum(before["refused"]["requests"].values()) + 1
    assert (after["traces"], after["spans"], after["status"]) == (before["traces"], before["spans"], "serving")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (WHOLE[:-3], grpc.StatusCode.INVALID_ARGUMENT),
        # gRPC itself refuses what is longer than it may be, in its own words.
        (bytes(20_000_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["no protobuf", "cut short", "20 MB"],
)
def test_over_grpc_too(store: Store, body: bytes, code: grpc.StatusCode) -> None:
    before = store.health()["refused"]["requests"].get("otlp_grpc", 0)
    with grpc_export(store) as export, pytest.raises(grpc.RpcError) as caught:
        export(body)
    failed: Any = caught.value
    assert failed.code() is code
    assert store.health()["refused"]["requests"]["otlp_grpc"] == before + 1
    by_grpc(store, export_request(new_id(16), talk_parts()))


def test_spans_with_illegal_ids_are_told_to_the_sender_and_the_others_are_kept(store: Store) -> None:
    trace_id, parts = new_id(16), talk_parts()
    request = export_request(trace_id, parts)
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"short"
    request.resource_spans[1].scope_spans[0].spans[0].span_id = bytes(8)
    answer = store.post(OTLP, request.SerializeToString(), **PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 2)
    assert "16 bytes" in partial.error_message
    assert len(store.spans(trace_id)) == 5


def test_random_bytes_never_stop_it(store: Store) -> None:
    for size in range(1, 200):
        body = os.urandom(size)
        for path, headers in ((OTLP, PROTOBUF), (OTLP, JSON), (ZIPKIN, JSON)):
            assert store.post(path, body, **headers).status_code in {200, 202, 400}
    assert store.health()["status"] == "serving"


def test_a_path_that_is_not_there_is_not_found(store: Store) -> None:
    assert store.post("/v1/metrics", b"{}", **JSON).status_code == 404
