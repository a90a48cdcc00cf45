from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORWARDED: _ClassVar[Decision]
    SWITCHED_OFF: _ClassVar[Decision]
    LEFT_OUT: _ClassVar[Decision]
    UNLISTED: _ClassVar[Decision]
    REFUSED: _ClassVar[Decision]
    SUPERSEDED: _ClassVar[Decision]
    REWRITTEN: _ClassVar[Decision]
FORWARDED: Decision
SWITCHED_OFF: Decision
LEFT_OUT: Decision
UNLISTED: Decision
REFUSED: Decision
SUPERSEDED: Decision
REWRITTEN: Decision

class Hop(_message.Message):
    __slots__ = ("service", "version", "instance", "rpc", "peer", "headers", "remaining_ms", "here_us", "later_us", "status", "trace_id", "shortened")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    HERE_US_FIELD_NUMBER: _ClassVar[int]
    LATER_US_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SHORTENED_FIELD_NUMBER: _ClassVar[int]
    service: str
    version: str
    instance: str
    rpc: str
    peer: str
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    remaining_ms: int
    here_us: int
    later_us: int
    status: int
    trace_id: str
    shortened: bool
    def __init__(self, service: _Optional[str] = ..., version: _Optional[str] = ..., instance: _Optional[str] = ..., rpc: _Optional[str] = ..., peer: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., remaining_ms: _Optional[int] = ..., here_us: _Optional[int] = ..., later_us: _Optional[int] = ..., status: _Optional[int] = ..., trace_id: _Optional[str] = ..., shortened: _Optional[bool] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("key", "value", "length", "sha256", "decision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    length: int
    sha256: bytes
    decision: Decision
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., length: _Optional[int] = ..., sha256: _Optional[bytes] = ..., decision: _Optional[_Union[Decision, str]] = ...) -> None: ...
