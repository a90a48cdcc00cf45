"""Messages as JSON, both ways, by a method's descriptors: ProtoJSON, as grpcurl writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_IN_FIELD: Final = re.compile(r"Failed to parse (\S+) field: ")
_NO_FIELD: Final = re.compile(r'has no field named "(.*?)"')


def requests(method: MethodDescriptor, text: str) -> list[bytes]:
    """The messages in `text`, JSON values one after the other; an empty text is one empty message.

    ValueError names the path of the field that does not fit, and where a method takes one message and not several.
    """
    values = list(_values(text)) or [{}]
    if len(values) != 1 and not method.client_streaming:
        raise ValueError(f"{method.name} takes one message, and here are {len(values)}")
    numbered = len(values) > 1
    return [
        _encoded(method.input_type, value, f"message {n}: " if numbered else "") for n, value in enumerate(values, 1)
    ]


def answer(method: MethodDescriptor, data: bytes) -> Any:
    """A response as JSON has it. ValueError where the bytes are no message of the method's."""
    message = _new(method.output_type)
    try:
        message.ParseFromString(data)
        return json_format.MessageToDict(message, descriptor_pool=method.output_type.file.pool)
    except (DecodeError, json_format.Error, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{len(data)} bytes are no {method.output_type.full_name}: {error}") from None


def _values(text: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ValueError(f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None
        yield value


def _encoded(kind: Descriptor, value: Any, where: str) -> bytes:
    message = _new(kind)
    if not isinstance(value, dict) and kind.file.package != "google.protobuf":
        raise ValueError(f"{where}a {kind.full_name} is a JSON object")
    try:
        json_format.ParseDict(value, message, descriptor_pool=kind.file.pool)
    except (json_format.Error, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where}{_explained(kind, str(error))}") from None
    return message.SerializeToString()


def _explained(kind: Descriptor, said: str) -> str:
    """protobuf's words, with the path of the field in front."""
    first = said.splitlines()[0] if said else "it does not fit"
    path = ".".join(_IN_FIELD.findall(first))
    rest = _IN_FIELD.sub("", first)
    if unknown := _NO_FIELD.search(rest):
        near = f" of {kind.full_name}: it has {', '.join(kind.fields_by_name)}" if not path else ""
        return f"{'.'.join(filter(None, (path, unknown[1])))}: no such field{near}"
    return f"{path}: {rest}" if path else rest


def _new(kind: Descriptor) -> Message:
    return GetMessageClass(kind)()
