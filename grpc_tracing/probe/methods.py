"""Methods by their descriptors: a pool from files, and the method in it that a user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

_SHOWN: Final = 8
_WELL_KNOWN: Final = (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
"""Files that protobuf brings: who describes a service may leave them out."""


class NoMethod(Exception):  # noqa: N818 - reads as what it says
    """The method, or what describes it, cannot be found; the message says why and what helps."""


def split(text: str) -> tuple[str, str]:
    """Service and method in `package.Service/Method`. ValueError says how to write it."""
    service, slash, method = text.removeprefix("/").rpartition("/")
    if not slash:
        service, _, method = text.rpartition(".")
    if not service or not method or "/" in service:
        raise ValueError(f"{text!r} is not a method: write package.Service/Method")
    return service, method


def find(files: Iterable[FileDescriptorProto], service: str, method: str) -> MethodDescriptor:
    """The method in these files. Raises NoMethod, with near names."""
    pool = _pool({file.name: file for file in files})
    try:
        found: ServiceDescriptor = pool.FindServiceByName(service)
    except KeyError:
        raise NoMethod(f"no descriptor of service {service} was given") from None
    if method not in found.methods_by_name:
        raise NoMethod(f"{service} has no method {method}{near(method, found.methods_by_name)}")
    return found.methods_by_name[method]


def path(method: MethodDescriptor) -> str:
    """As gRPC puts it into `:path`."""
    return f"/{method.containing_service.full_name}/{method.name}"


def services(files: Iterable[FileDescriptorProto]) -> list[str]:
    """The full names of all services in these files."""
    return [f"{file.package}.{one.name}".lstrip(".") for file in files for one in file.service]


def near(word: str, known: Iterable[str]) -> str:
    """The known words that come near, or all where they are few."""
    names = sorted(set(known))
    found = get_close_matches(word, names, n=3, cutoff=0.6)
    if found:
        return f"; did you mean {' or '.join(found)}?"
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; there is {', '.join(names[:_SHOWN])}{more}"


def _pool(files: Mapping[str, FileDescriptorProto]) -> DescriptorPool:
    """Raises NoMethod for files that do not fit together."""
    pool = DescriptorPool()
    added: set[str] = set()
    waiting = [(name, False) for name in files]
    below: set[str] = set()
    while waiting:
        name, ready = waiting.pop()
        if name in added:
            continue
        file = _file(name, files)
        if ready:
            _add(pool, file)
            added.add(name)
            continue
        if name in below:
            raise NoMethod(f"the descriptors do not fit together: {name} imports itself")
        below.add(name)
        waiting += [(name, True), *((one, False) for one in file.dependency if one not in added)]
    return pool


def _file(name: str, files: Mapping[str, FileDescriptorProto]) -> FileDescriptorProto:
    if name in files:
        return files[name]
    for module in _WELL_KNOWN:
        if module.DESCRIPTOR.name == name:
            return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    raise NoMethod(f"{name} is imported and not there: make the protoset with --include_imports")


def _add(pool: DescriptorPool, file: FileDescriptorProto) -> None:
    try:
        pool.AddSerializedFile(file.SerializeToString())
        pool.FindFileByName(file.name)
    except (TypeError, KeyError) as error:
        raise NoMethod(f"the descriptors do not fit together: {file.name}: {error}") from None
