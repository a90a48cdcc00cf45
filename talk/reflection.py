"""Reflection as tools ask for it: under both its names, and for the symbols that protobuf's own pool does not know."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA: Final = reflection.SERVICE_NAME
V1: Final = V1ALPHA.replace(".v1alpha.", ".v1.")


def handlers(names: list[str]) -> list[grpc.GenericRpcHandler]:
    """Reflection of the services by these names, as v1 and as v1alpha."""
    servicer = reflection.aio.ReflectionServicer(names, Symbols(descriptor_pool.Default()))
    # v1 is v1alpha under another name; newer clients ask for it first.
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(version, {"ServerReflectionInfo": handler}) for version in (V1, V1ALPHA)
    ]


class Symbols:
    """A descriptor pool that finds methods and v1 itself too: ghz asks for a method, buf for all that is listed."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        pool.AddSerializedFile(_v1().SerializeToString())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 (protobuf's name)
        """The file that defines `symbol`; KeyError where none does."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file


def _v1() -> FileDescriptorProto:
    """grpcio-reflection 1.85 has v1alpha's file alone; the two differ in the package's name."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name, file.package = file.name.replace("v1alpha", "v1"), V1.rpartition(".")[0]
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # of messages; a number's must not be set at all
                field.type_name = _renamed(field.type_name)
    for method in file.service[0].method:
        method.input_type, method.output_type = _renamed(method.input_type), _renamed(method.output_type)
    return file


def _renamed(type_name: str) -> str:
    return type_name.replace(".v1alpha.", ".v1.")
