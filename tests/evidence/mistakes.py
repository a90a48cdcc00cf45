"""What a hop can do wrong with the headers that it received, on paper and, by tests.mesh.told_hop, in a real mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpc_tracing.headers.families import Metadata
from grpc_tracing.headers.forwarding import Propagation, onward

Mistake = Callable[[Metadata], Metadata]
"""What a hop sends on, from what it received."""
OLD = "f0" * 16
SPAN = "f1" * 8


def good(received: Metadata) -> Metadata:
    """Copies every trace header."""
    return onward(Propagation().sort(received))


def dropping(*keys: str) -> Mistake:
    return lambda received: tuple(pair for pair in good(received) if not matches(pair[0], keys))


def keeping(*keys: str) -> Mistake:
    return lambda received: tuple(pair for pair in good(received) if matches(pair[0], keys))


def changing(key: str, change: Callable[[str], str]) -> Mistake:
    return lambda received: tuple((k, change(str(v)) if k == key else v) for k, v in good(received))


def adding(*pairs: tuple[str, str]) -> Mistake:
    return lambda received: (*good(received), *pairs)


def matches(key: str, entries: Sequence[str]) -> bool:
    return any(key == one or (one.endswith("*") and key.startswith(one[:-1])) for one in entries)


# What a hop does wrong. In some meshes some of them do no harm: the chain on paper knows.
MISTAKES: dict[str, Mistake] = {
    "forwards nothing": lambda _: (),
    "forwards x-request-id alone": keeping("x-request-id"),
    "forwards B3 alone": keeping("x-request-id", "x-b3-*"),
    "forwards W3C alone": keeping("x-request-id", "traceparent", "tracestate"),
    "a new trace id under the old parent": changing("traceparent", lambda v: f"00-{OLD}-{v[36:]}"),
    "a new trace": changing("traceparent", lambda _: f"00-{OLD}-{SPAN}-01"),
    "an old call's headers": lambda _: (
        ("traceparent", f"00-{OLD}-{SPAN}-01"),
        ("x-b3-traceid", OLD),
        ("x-b3-spanid", SPAN),
        ("x-b3-sampled", "1"),
    ),
    "trace id of zeros": changing("traceparent", lambda v: f"00-{'0' * 32}-{v[36:]}"),
    "span id of zeros": changing("traceparent", lambda v: f"{v[:36]}{'0' * 16}-01"),
    "version ff": changing("traceparent", lambda v: f"ff{v[2:]}"),
    "span id of 15 digits": changing("traceparent", lambda v: v[:36] + v[37:]),
    "upper case": changing("traceparent", str.upper),
    "quoted": changing("traceparent", lambda v: f'"{v}"'),
    "joined by a comma": changing("traceparent", lambda v: f"{v},{v}"),
    "the header twice": lambda received: (
        *good(received),
        *(pair for pair in good(received) if pair[0] == "traceparent"),
    ),
    "an empty b3": adding(("b3", "")),
    "128 bits cut to 64": changing("x-b3-traceid", lambda v: v[16:]),
    "a leading zero lost": changing("x-b3-traceid", lambda v: v.lstrip("0")),
    # The last, for a first digit may be a zero, and Envoy reads the same number without it.
    "B3 span id of 15 digits": changing("x-b3-spanid", lambda v: v[:-1]),
    "B3 trace id of zeros": changing("x-b3-traceid", lambda v: "0" * len(v)),
    "B3 in upper case": changing("x-b3-traceid", str.upper),
    "B3 of another trace": changing("x-b3-traceid", lambda _: OLD),
    "B3 trace id twice": lambda received: (
        *good(received),
        *(pair for pair in good(received) if pair[0] == "x-b3-traceid"),
    ),
    "B3 span id lost": dropping("x-b3-spanid"),
    "sampled becomes unsampled": changing("traceparent", lambda v: f"{v[:-2]}00"),
    "B3 sampled becomes unsampled": changing("x-b3-sampled", lambda _: "0"),
    "traceparent lost and tracestate kept": dropping("traceparent"),
}
