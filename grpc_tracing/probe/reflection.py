"""A service's descriptors, from the service itself: gRPC's server reflection, v1 and v1alpha.

What it answers is another's word: it may lie, loop, send without end or not at all. Each file is asked for once, and
number, size and time are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from grpc_tracing.calling.requests import ENDED, start
from grpc_tracing.headers.families import Metadata
from grpc_tracing.printable import one_line
from grpc_tracing.probe.methods import NoMethod, near

_VERSIONS: Final = ("v1", "v1alpha")
"""The newer first; both have the same messages (gRPC's reflection.proto)."""
_MOST_FILES: Final = 2_000
_MOST_BYTES: Final = 32 * 1024 * 1024
_OTHERWISE: Final = "give --protoset FILE or --proto FILE"


async def files(
    channel: grpc.aio.Channel, service: str, metadata: Metadata, within: float
) -> list[FileDescriptorProto]:
    """The file that defines `service`, and all that it imports. Raises NoMethod, `within` seconds at most."""
    for version in _VERSIONS:
        try:
            return await _Asking(channel, version, metadata, within).files(service)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                said = one_line(error.details() or "")
                raise NoMethod(f"its reflection ends with {error.code().name} ({said}): {_OTHERWISE}") from None
    raise NoMethod(f"it has no reflection: {_OTHERWISE}")


class _Asking:
    """One stream of questions."""

    def __init__(self, channel: grpc.aio.Channel, version: str, metadata: Metadata, within: float) -> None:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        )
        self._call, self._stream = start(method, metadata=grpc.aio.Metadata(*metadata), timeout=within)
        self._bytes = 0

    async def files(self, service: str) -> list[FileDescriptorProto]:
        try:
            return await self._closure(service)
        finally:
            self._call.cancel()

    async def _closure(self, service: str) -> list[FileDescriptorProto]:
        first = await self._ask(ServerReflectionRequest(file_containing_symbol=service))
        found = {file.name: file for file in self._read(first)}
        if not found:
            raise NoMethod(f"it serves no {service}{near(service, await self._names())}")
        asked = set(found)
        while missing := sorted(set(_imports(list(found.values()))) - asked):
            for name in missing:
                asked.add(name)
                answer = await self._ask(ServerReflectionRequest(file_by_filename=name))
                found |= {file.name: file for file in self._read(answer) if file.name not in found}
                if len(asked) > _MOST_FILES or self._bytes > _MOST_BYTES:
                    raise NoMethod(f"its reflection does not come to an end ({len(asked)} files): {_OTHERWISE}")
        return list(found.values())

    async def _names(self) -> list[str]:
        answer = await self._ask(ServerReflectionRequest(list_services=""))
        return [one_line(one.name) for one in answer.list_services_response.service]

    async def _ask(self, question: ServerReflectionRequest) -> ServerReflectionResponse:
        with suppress(*ENDED):  # reading says why
            await self._stream.begin()
            await self._stream.send(question.SerializeToString())
        answer: Any = await self._call.read()
        if answer is grpc.aio.EOF:
            raise NoMethod(f"its reflection ends without an answer: {_OTHERWISE}")
        self._bytes += len(answer)
        try:
            return ServerReflectionResponse.FromString(answer)
        except DecodeError:
            raise NoMethod(f"its reflection answers with something else: {_OTHERWISE}") from None

    def _read(self, answer: ServerReflectionResponse) -> Iterator[FileDescriptorProto]:
        for data in answer.file_descriptor_response.file_descriptor_proto:
            try:
                yield FileDescriptorProto.FromString(data)
            except DecodeError:
                raise NoMethod(f"its reflection gives a file that is no descriptor: {_OTHERWISE}") from None


def _imports(files: Sequence[FileDescriptorProto]) -> Iterator[str]:
    for file in files:
        yield from file.dependency
