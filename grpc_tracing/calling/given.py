"""What people give for a call on a command line: headers and PEM files. ValueError names the fix."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Final

from grpc_tracing.headers.families import Pair

KEY: Final = re.compile(r"[0-9a-z_.-]+")
"""A metadata key (gRPC over HTTP/2, "Custom-Metadata")."""
_TEXT: Final = re.compile(r"[\x20-\x7e]*")
_SET_BY_GRPC: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "user-agent"}
)
"""What gRPC or HTTP/2 sets itself: sent by a caller, it is dropped or breaks the call."""


def header(text: str) -> Pair:
    """`key: value` as gRPC metadata; the value of a `-bin` key is base64 and becomes bytes."""
    key, colon, value = text.partition(":")
    key, value = key.strip(), value.strip()
    if not colon or not key:
        raise ValueError(f"{text!r}: write it as 'key: value'")
    _check_key(key)
    return (key, _binary(key, value)) if key.endswith("-bin") else (key, _printable(key, value))


def _check_key(key: str) -> None:
    if key != key.lower():
        raise ValueError(f"{key}: gRPC's keys are lower case, write {key.lower()}")
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r}: a key is made of a-z, 0-9, '-', '_' and '.'")
    if key.startswith("grpc-") or key in _SET_BY_GRPC:
        raise ValueError(f"{key}: gRPC sets {key} itself, use another key")


def _binary(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{key}: the value of a -bin key is base64, for example AAEC") from None


def _printable(key: str, value: str) -> str:
    if not _TEXT.fullmatch(value):
        raise ValueError(f"{key}: a value is printable ASCII; send other bytes as base64 under {key}-bin")
    return value


def pem(path: Path) -> bytes:
    """The bytes of a PEM file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}: name a file that can be read") from None
    if b"-----BEGIN " not in content:
        raise ValueError(f"{path}: no PEM in it: name a file that holds -----BEGIN … -----")
    return content
