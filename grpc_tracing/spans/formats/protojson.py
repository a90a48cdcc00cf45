"""Protobuf messages out of parsed JSON, by https://protobuf.dev/programming-guides/json but for OTLP's ids, in hex.

`google.protobuf.json_format` takes milliseconds for a span: an audit reads a million of them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
Reader = Callable[[Any], Any]

_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def message_of(document: Any, kind: type[M]) -> M:
    """The message that this JSON says; fields that it does not know are left out, and so is `null`.

    Raises what the wrong shape raises: ValueError, TypeError, RecursionError, SystemError.
    """
    return kind(**_of(kind.DESCRIPTOR)(document))


@lru_cache(maxsize=64)  # a trace has fewer kinds of messages
def _of(descriptor: Descriptor) -> Reader:
    return _object(descriptor, {})


def _object(descriptor: Descriptor, readers: dict[str, Reader]) -> Reader:
    """What reads an object of JSON as the fields of such a message; `readers` has those of the messages around it."""
    if descriptor.full_name in readers:
        return readers[descriptor.full_name]
    fields: dict[str, tuple[str, Reader | None]] = {}

    def read(document: Any) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise TypeError(f"{descriptor.name} is a {type(document).__name__}, not an object")
        found = {}
        for key, value in document.items():
            if value is not None and key in fields:
                name, of = fields[key]
                found[name] = of(value) if of else value
        return found

    readers[descriptor.full_name] = read
    for field in descriptor.fields:
        fields[field.name] = fields[field.json_name] = (field.name, _field(field, readers))
    return read


def _field(field: FieldDescriptor, readers: dict[str, Reader]) -> Reader | None:
    one = _value(field, readers)
    return partial(_list, field.name, one or _as_it_is) if field.is_repeated else one


def _value(field: FieldDescriptor, readers: dict[str, Reader]) -> Reader | None:
    """None where protobuf itself takes the value as it is, or refuses it."""
    if field.message_type is not None:
        return _object(field.message_type, readers)
    if field.enum_type is not None:
        return partial(_enum, field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _id if field.name in _IDS else _bytes
    return _BY_TYPE.get(field.cpp_type)


def _list(name: str, read: Reader, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{name} is a {type(value).__name__}, not a list")
    return [read(one) for one in value]


def _as_it_is(value: Any) -> Any:
    return value


def _enum(kinds: EnumDescriptor, value: Any) -> int:
    """A name that it does not know is left out, as an unknown field is: 0 stands for no kind."""
    if not isinstance(value, str) or value.isdecimal():
        return _int(value)
    known = kinds.values_by_name.get(value)
    return int(known.number) if known else 0


def _id(value: str) -> bytes:
    """Tempo writes ids in base64, as protobuf's JSON does: 16 bytes are 24 characters, 8 are 12."""
    return _bytes(value) if len(value) in {24, 12} and value.endswith("=") else bytes.fromhex(value)


def _bytes(value: str) -> bytes:
    """Base64, in either alphabet, with its padding or without."""
    ascii_only = value.encode("ascii")
    return base64.b64decode(ascii_only.translate(_STANDARD) + b"=" * (-len(ascii_only) % 4), validate=True)


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no bool")
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is no integer")
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(f"{value!r} is no integer")
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is no number")
    if isinstance(value, str) and value[-1:].isalpha() and value not in _NOT_FINITE:
        raise ValueError(f"{value!r} is no number")
    return float(value)


_BY_TYPE: Final[Mapping[int, Reader]] = {
    FieldDescriptor.CPPTYPE_BOOL: _bool,
    FieldDescriptor.CPPTYPE_DOUBLE: _float,
    FieldDescriptor.CPPTYPE_FLOAT: _float,
    FieldDescriptor.CPPTYPE_INT32: _int,
    FieldDescriptor.CPPTYPE_INT64: _int,
    FieldDescriptor.CPPTYPE_UINT32: _int,
    FieldDescriptor.CPPTYPE_UINT64: _int,
}
