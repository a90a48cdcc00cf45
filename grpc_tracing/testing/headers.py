"""The headers of the caller's calls: each family, with ids of one call alone; and what became of them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from grpc_tracing.headers.families import FAMILIES, Metadata, Pair, is_span_key
from grpc_tracing.headers.forwarding import Propagation
from grpc_tracing.headers.reading import TraceContext, read

_SPELLINGS: Final[dict[str, Callable[[str, str], str]]] = {
    "traceparent": lambda trace, span: f"00-{trace}-{span}-01",
    "tracestate": lambda trace, _: f"vendor={trace[:8]}",
    "baggage": lambda trace, _: f"call={trace[:8]}",
    "x-b3-traceid": lambda trace, _: trace,
    "x-b3-spanid": lambda _, span: span,
    "x-b3-parentspanid": lambda _, span: span[::-1],
    "x-b3-sampled": lambda _, __: "1",
    "x-b3-flags": lambda _, __: "0",
    "b3": lambda trace, span: f"{trace}-{span}-1",
    "x-request-id": lambda trace, _: f"{trace[:8]}-{trace[8:12]}-4{trace[13:16]}-8{trace[17:20]}-{trace[20:]}",
    "x-datadog-trace-id": lambda trace, _: str(int(trace[16:], 16)),
    "x-datadog-parent-id": lambda _, span: str(int(span, 16)),
    "x-datadog-sampling-priority": lambda _, __: "1",
    "uber-trace-id": lambda trace, span: f"{trace}:{span}:0:1",
    "x-cloud-trace-context": lambda trace, _: f"{trace}/1;o=1",
}
"""By key, from trace id and span id, where a tracer would read the value; any other key gets a text of this call."""
_CREDENTIALS: Final = ("authorization", "cookie")
_B3, _MULTIPLE = "b3", "x-b3-"


def of_one_call(rule: Propagation) -> Metadata:
    """Headers by every entry of the rule, B3 in its `x-b3-*` spelling, `baggage` twice, and credentials."""
    trace, span = f"{secrets.randbits(128) | 1 << 124:032x}", f"{secrets.randbits(64) | 1 << 60:016x}"
    keys = [_key(entry) for entry in rule.listed if entry != _B3]
    listed = [(key, _value(key, trace, span)) for key in keys]
    twice = [("baggage", f"again={trace[:8]}")] if "baggage" in keys else []
    secret = [(key, f"secret {trace[:8]}") for key in _CREDENTIALS if key not in keys]
    return (*listed, *twice, *secret)


def _key(entry: str) -> str:
    return f"{entry[:-1]}a" if entry.endswith("*") else entry


def _value(key: str, trace: str, span: str) -> str | bytes:
    if key.endswith("-bin"):
        return bytes.fromhex(trace)
    return _SPELLINGS[key](trace, span) if key in _SPELLINGS else f"{key} {trace[:8]}"


def with_single_b3(sent: Metadata) -> Metadata:
    """The same call with B3 in one header."""
    values = dict(sent)
    b3 = f"{values['x-b3-traceid']!s}-{values['x-b3-spanid']!s}-1"
    return (*(pair for pair in sent if not pair[0].startswith(_MULTIPLE)), (_B3, b3))


def with_both_b3(sent: Metadata) -> Metadata:
    return (*sent, *(pair for pair in with_single_b3(sent) if pair[0] == _B3))


def faults(sent: Metadata, came: Metadata) -> Iterator[str]:
    """What became of each header that had to go on, and of those that must not."""
    superseded = {_B3} if any(key.startswith(_MULTIPLE) for key, _ in sent) else set()
    before, after = _contexts(sent), _contexts(came)
    for key in dict.fromkeys(key for key, _ in sent):
        left, arrived = ([value for name, value in pairs if name == key] for pairs in (sent, came))
        if key in superseded or (key in _CREDENTIALS and str(left[0]).startswith("secret ")):
            if arrived:
                yield f"{key} went on" + (" beside x-b3-*" if key == _B3 else ", and it was not for the next hop")
        elif Counter(left) != Counter(arrived) and not _spans_on(key, left, arrived, before.get(key), after.get(key)):
            yield _fault(key, left, arrived)


def _contexts(pairs: Metadata) -> dict[str, TraceContext]:
    return {context.key: context for context in read(pairs)}


def _spans_on(
    key: str,
    left: list[str | bytes],
    arrived: list[str | bytes],
    before: TraceContext | None,
    after: TraceContext | None,
) -> bool:
    """An SDK's own span in the same trace: a tracer's duty."""
    if len(arrived) != 1 or len(left) != 1:
        return False
    if is_span_key(key):
        return bool(arrived[0])
    if key == "tracestate":
        return str(arrived[0]).endswith(str(left[0]))
    return bool(
        before
        and after
        and not after.fault
        and (before.spelled, before.sampled) == (after.spelled, after.sampled)
        and before.span_id != after.span_id
    )


def _fault(key: str, left: list[str | bytes], arrived: list[str | bytes]) -> str:
    if not arrived:
        return f"{key} was lost"
    if len(left) != len(arrived):
        joined = len(left) > 1 and arrived == [",".join(map(str, left))]
        return f"{key} headers were joined into one" if joined else f"{key} came {len(arrived)} times, not {len(left)}"
    return f"{key} was changed: {left[0]!r} became {arrived[0]!r}" if arrived[0] else f"{key} was emptied"


def owners(came: Metadata, calls: dict[Pair, int]) -> set[int]:
    """Which of the sent calls this one's headers are of: `calls` has the number of the call that a pair names."""
    named = {calls[pair] for pair in came if pair in calls}
    return named | {calls[name] for context in read(came) if (name := (context.key, context.spelled)) in calls}


def names_of(sent: Metadata) -> set[Pair]:
    """The pairs that no other call has: whole values, and trace ids under the key that carries them."""
    common = {
        key for family in FAMILIES.values() for key in family.keys if key.endswith(("sampled", "flags", "priority"))
    }
    pairs = {pair for pair in sent if pair[0] not in common and pair[0] not in _CREDENTIALS}
    return pairs | {(context.key, context.spelled) for context in read(sent) if context.spelled}
