"""A service of somebody else's, which knows nothing of this project: with reflection, without, with one that lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from grpc_tracing.probe.descriptors import sources

PROTO = Path(__file__).with_name("shop.proto")
ECHO = "shop.v1.Echo"
Answers = Callable[[reflection_pb2.ServerReflectionRequest], Iterator[bytes]]


@cache
def described() -> tuple[FileDescriptorProto, ...]:
    return tuple(sources([PROTO], []))


def handlers(heard: list[dict[str, Any]] | None = None) -> grpc.GenericRpcHandler:
    """On bytes; `heard` gets the metadata of each call."""

    def hear(context: grpc.ServicerContext) -> None:
        if heard is not None:
            heard.append(dict(context.invocation_metadata()))

    def one(request: bytes, context: grpc.ServicerContext) -> bytes:
        hear(context)
        return request

    def give(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        hear(context)
        yield from (request, request)

    def take(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        hear(context)
        return b"".join(requests)

    def both(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        hear(context)
        yield from requests

    def forever(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        while context.is_active():
            yield request

    def fail(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such item")

    made: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Give": grpc.unary_stream_rpc_method_handler(give),
        "Take": grpc.stream_unary_rpc_method_handler(take),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Forever": grpc.unary_stream_rpc_method_handler(forever),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    return grpc.method_handlers_generic_handler(ECHO, made)


def reflecting() -> grpc.GenericRpcHandler:
    """As grpcio brings it: v1alpha alone."""
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for file in described():
        pool.AddSerializedFile(file.SerializeToString())
    servicer = reflection.ReflectionServicer([ECHO], pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    name = "grpc.reflection.v1alpha.ServerReflection"
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})


def lying(answer: Answers, version: str = "v1") -> grpc.GenericRpcHandler:
    """A reflection whose answers a test makes up."""

    def info(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield from answer(reflection_pb2.ServerReflectionRequest.FromString(request))

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(info)
    name = f"grpc.reflection.{version}.ServerReflection"
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})


def files(*found: FileDescriptorProto) -> bytes:
    """A reflection's answer."""
    answer = reflection_pb2.ServerReflectionResponse()
    answer.file_descriptor_response.file_descriptor_proto.extend(one.SerializeToString() for one in found)
    return answer.SerializeToString()


def never(_: reflection_pb2.ServerReflectionRequest) -> Iterator[bytes]:
    threading.Event().wait(5)
    yield from ()
