"""A service's descriptors, from files: protosets as protoc and buf write them, and .proto sources."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from grpc_tracing.probe.methods import NoMethod

_COMPILING: Final = 60.0
"""Seconds; only a hang takes longer."""


def protoset(path: Path) -> list[FileDescriptorProto]:
    """The files in a FileDescriptorSet. Raises NoMethod."""
    try:
        found = FileDescriptorSet.FromString(path.read_bytes())
    except OSError as error:
        raise NoMethod(f"--protoset {path}: {(error.strerror or str(error)).lower()}") from None
    except DecodeError:
        raise NoMethod(f"--protoset {path}: it is no protoset: make one with protoc --descriptor_set_out") from None
    if not found.file:
        raise NoMethod(f"--protoset {path}: it describes nothing: make one with protoc --descriptor_set_out")
    return list(found.file)


def sources(paths: Sequence[Path], roots: Sequence[Path]) -> list[FileDescriptorProto]:
    """The descriptors of .proto sources, whose imports are looked for in `roots`, else beside them. Raises NoMethod."""
    if find_spec("grpc_tools") is None:
        raise NoMethod("--proto needs grpcio-tools, which is not installed: pip install 'grpc-tracing[probe]'")
    for path in paths:
        if not path.is_file():
            raise NoMethod(f"--proto {path}: there is no such file")
    includes = [f"-I{root}" for root in roots or dict.fromkeys(path.parent for path in paths)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "descriptors")
        command = [sys.executable, "-m", "grpc_tools.protoc", *includes, "--include_imports"]
        command += [f"--descriptor_set_out={made}", *map(str, paths)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMPILING)
        if ended.returncode:
            lines = [line for line in ended.stderr.splitlines() if "warning" not in line.lower()]
            raise NoMethod(f"--proto: {lines[0] if lines else 'protoc failed'}")
        return protoset(made)
