"""What trace headers say, read as the strictest tracer on the way reads them.

A value that such a tracer rejects has a `fault`, the rule that it breaks, and no ids: whoever meets it begins a trace
of its own. Sources of the rules: W3C Trace Context (Recommendation), openzipkin/b3-propagation, SkyWalking's
Cross Process Propagation Headers v3, Datadog's tracing libraries, Google Cloud Trace, AWS X-Ray, Jaeger's client
libraries.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from grpc_tracing.headers.families import CARRIERS, Pair

_Values: TypeAlias = Mapping[str, list[str]]
_HEX: Final = re.compile(r"[0-9a-f]{1,32}")
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """What one carrier says. `spelled` is the trace id as it stands in the value, `trace_id` in one spelling for all.

    `trace_id` is lower-case hex (16 or 32 digits; SkyWalking's free text stays as it is), `span_id` lower-case hex of
    16 digits. Both are empty where there is none, or where `fault` says which rule the value breaks. `sampled` is None
    where the value leaves the decision to others.
    """

    key: str
    spelled: str = ""
    trace_id: str = ""
    span_id: str = ""
    sampled: bool | None = None
    fault: str = ""


class _FaultError(Exception):
    """The rule that a value breaks."""


def read(metadata: Iterable[Pair]) -> tuple[TraceContext, ...]:
    """The trace context of each carrier that came, in the order of the families."""
    values = _values(metadata)
    return tuple(_read(key, values) for key in CARRIERS if key in values)


def trace_id(metadata: Iterable[Pair]) -> str:
    """The trace id of the first carrier that can be read, as that family spells it; empty where there is none."""
    values = _values(metadata)
    for key in CARRIERS:  # one after the other: the first that can be read is all that a hop pays for
        if key in values and (spelled := _read(key, values).spelled):
            return spelled
    return ""


def _values(metadata: Iterable[Pair]) -> _Values:
    values: dict[str, list[str]] = {}
    for key, value in metadata:
        if not isinstance(value, str):
            continue
        if key in values:
            values[key].append(value)
        else:
            values[key] = [value]
    return values


def _read(key: str, values: _Values) -> TraceContext:
    try:
        if len(values[key]) > 1:
            raise _FaultError(f"{key} came {len(values[key])} times: a tracer reads one header of that name")
        return _READERS[key](key, values[key][0], values)
    except _FaultError as fault:
        return TraceContext(key, fault=str(fault))


def _w3c(key: str, value: str, _: _Values) -> TraceContext:
    match = _TRACEPARENT.fullmatch(value)
    if not match:
        raise _FaultError(_w3c_fault(value))
    version, trace, span, flags, more = match.groups()
    if version == "ff":
        raise _FaultError("version ff is invalid")
    if version == "00" and more:
        raise _FaultError("version 00 has four fields and no more")
    _require_nonzero(trace, "trace id")
    _require_nonzero(span, "span id")
    return TraceContext(key, trace, trace, span, bool(int(flags, 16) & 1))


def _w3c_fault(value: str) -> str:
    if "," in value:
        return "two values are joined by a comma: one is allowed"
    if value != value.lower():
        return "its hex digits are lower case"
    return "it is version-traceid-spanid-flags with 2, 32, 16 and 2 hex digits"


def _b3(key: str, value: str, values: _Values) -> TraceContext:
    for companion in ("x-b3-sampled", "x-b3-flags"):
        if len(values.get(companion, ())) > 1:
            raise _FaultError(f"{companion} came {len(values[companion])} times")
    sampled = _b3_sampled(values)
    trace = _b3_id(value, "trace id", 16, 32)
    spans = values.get("x-b3-spanid")
    if spans is None:
        raise _FaultError("x-b3-spanid is missing beside it")
    if len(spans) > 1:
        raise _FaultError(f"x-b3-spanid came {len(spans)} times")
    return TraceContext(key, value, trace, _b3_id(spans[0], "span id", 16), sampled)


def _b3_sampled(values: _Values) -> bool | None:
    if values.get("x-b3-flags") == ["1"]:
        return True
    return _decision((values.get("x-b3-sampled") or [""])[-1])


def _decision(text: str) -> bool | None:
    return {"1": True, "true": True, "d": True, "0": False, "false": False}.get(text)


def _b3_single(key: str, value: str, _: _Values) -> TraceContext:
    if value in {"0", "1", "d"}:  # a decision alone, which begins no trace
        return TraceContext(key, sampled=_decision(value))
    match = re.fullmatch(r"([^-]*)-([^-]*)(?:-([01d])(?:-[0-9a-f]{16})?)?", value)
    if not match:
        raise _FaultError("it is empty" if not value else "it is traceid-spanid-sampled-parentspanid")
    trace, span, sampled = match.groups()
    return TraceContext(
        key, trace, _b3_id(trace, "trace id", 16, 32), _b3_id(span, "span id", 16), _decision(sampled or "")
    )


def _b3_id(text: str, what: str, *lengths: int) -> str:
    if not text:
        raise _FaultError(f"the {what} is empty")
    if text != text.lower():
        raise _FaultError(f"the hex digits of the {what} are lower case")
    if not _HEX.fullmatch(text) or len(text) not in lengths:
        digits = " or ".join(map(str, lengths))
        raise _FaultError(f"the {what} has {digits} hex digits, not {len(text)} characters")
    _require_nonzero(text, what)
    return text


def _require_nonzero(digits: str, what: str) -> None:
    if not digits.strip("0"):
        raise _FaultError(f"the {what} is all zeros")


def _skywalking(key: str, value: str, _: _Values) -> TraceContext:
    fields = value.split("-")
    if len(fields) != 8 or fields[0] not in {"0", "1"}:
        raise _FaultError("it is eight fields joined by '-', the first 0 or 1")
    trace = _from_base64(fields[1])
    if not trace:
        raise _FaultError("the trace id is no base64 text")
    return TraceContext(key, trace, trace, sampled=fields[0] == "1")


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _datadog(key: str, value: str, values: _Values) -> TraceContext:
    priority = (values.get("x-datadog-sampling-priority") or [""])[-1]
    parent = (values.get("x-datadog-parent-id") or [""])[-1]
    span = f"{_decimal(parent, 'parent id'):016x}" if parent else ""
    sampled = {"-1": False, "0": False, "1": True, "2": True}.get(priority)
    return TraceContext(key, value, f"{_decimal(value, 'trace id'):016x}", span, sampled)


def _decimal(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text) or not 0 < int(text) < 2**64:
        raise _FaultError(f"the {what} is a decimal number from 1 to 2^64 - 1")
    return int(text)


def _google(key: str, value: str, _: _Values) -> TraceContext:
    match = re.fullmatch(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?", value)
    if not match:
        raise _FaultError("it is TRACE_ID/SPAN_ID;o=OPTIONS with a trace id of 32 hex digits")
    trace, span, options = match.groups()
    _require_nonzero(trace, "trace id")
    sampled = None if options is None else options != "0"
    return TraceContext(key, trace, trace.lower(), f"{int(span) % 2**64:016x}" if span else "", sampled)


def _amazon(key: str, value: str, _: _Values) -> TraceContext:
    fields = dict(part.strip().partition("=")[::2] for part in value.split(";"))
    root = fields.get("Root", "")
    if not re.fullmatch(r"1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}", root):
        raise _FaultError("its Root is 1-XXXXXXXX-XXXXXXXXXXXXXXXXXXXXXXXX in hex digits")
    trace = root.removeprefix("1-").replace("-", "").lower()
    _require_nonzero(trace, "trace id")
    parent = fields.get("Parent", "")
    return TraceContext(
        key, root, trace, parent if _HEX.fullmatch(parent) else "", _decision(fields.get("Sampled", ""))
    )


def _jaeger(key: str, value: str, _: _Values) -> TraceContext:
    match = re.fullmatch(r"([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):[0-9a-fA-F]*:([0-9a-fA-F]{1,2})", _unescaped(value))
    if not match:
        raise _FaultError("it is traceid:spanid:parentspanid:flags in hex digits")
    trace, span, flags = match.groups()
    _require_nonzero(trace, "trace id")
    _require_nonzero(span, "span id")
    # Jaeger's clients leave leading zeros out.
    whole = trace.lower().zfill(32 if len(trace) > 16 else 16)
    return TraceContext(key, trace, whole, span.lower().zfill(16), bool(int(flags, 16) & 1))


def _unescaped(value: str) -> str:
    return value.replace("%3A", ":").replace("%3a", ":")


_READERS: Final[Mapping[str, Callable[[str, str, _Values], TraceContext]]] = {
    "traceparent": _w3c,
    "x-b3-traceid": _b3,
    "b3": _b3_single,
    "sw8": _skywalking,
    "x-datadog-trace-id": _datadog,
    "x-cloud-trace-context": _google,
    "x-amzn-trace-id": _amazon,
    "uber-trace-id": _jaeger,
}


def sampling(metadata: Sequence[Pair]) -> bool | None:
    """The sampling decision that the headers carry: False where any says no, None where none says anything."""
    decisions = [context.sampled for context in read(metadata)]
    decisions += [_decision(str(value)) for key, value in metadata if key == "x-b3-sampled"]
    said = [decision for decision in decisions if decision is not None]
    return all(said) if said else None


def in_32_digits(trace_id: str) -> str:
    """As W3C and trace backends write it; SkyWalking's free text stays as it is."""
    return trace_id.zfill(32) if _HEX.fullmatch(trace_id) else trace_id


def same_trace(one: str, other: str) -> bool:
    """True where two ids, as `TraceContext.trace_id` spells them, name one trace.

    An id of 64 bits is the lower half of one of 128: Datadog's header and B3's short form name traces so.
    """
    if one == other:
        return True
    if not (_HEX.fullmatch(one) and _HEX.fullmatch(other)):
        return False
    if min(len(one), len(other)) > 16:
        return int(one, 16) == int(other, 16)
    return int(one[-16:], 16) == int(other[-16:], 16)


def distinct(ids: Iterable[str]) -> list[str]:
    """The different traces among `ids`, empty ones left out, in order."""
    found: list[str] = []
    for trace_id in ids:
        if trace_id and not any(same_trace(trace_id, known) for known in found):
            found.append(trace_id)
    return found
