"""The table of trace-header families: the keys of each, and which of them hold a trace id.

Keys are lower case, as gRPC metadata has them; a key that ends in ``*`` is a prefix. `grpc-trace-bin` is missing
because gRPC core takes it off before a Python servicer sees it.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

Pair: TypeAlias = tuple[str, str | bytes]
"""One metadata entry: the value of a ``-bin`` key is bytes, any other str."""
Metadata: TypeAlias = tuple[Pair, ...]

REQUEST_ID: Final = "x-request-id"
HOP_RECORD: Final = "talk-hop-bin"
"""The trailer that holds a hop's record."""
STATUS_DETAILS: Final = "grpc-status-details-bin"
"""The trailer in which gRPC's richer error model repeats a status, with its details."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family of headers. `carriers`: the keys whose value holds the trace id, the preferred one first.

    `span_keys` hold nothing but a span's id, which every tracer on the way writes anew.
    """

    name: str
    keys: tuple[str, ...]
    carriers: tuple[str, ...] = ()
    span_keys: tuple[str, ...] = ()


FAMILIES: Final = {
    family.name: family
    for family in (
        Family("w3c", ("traceparent", "tracestate", "baggage"), ("traceparent",)),
        Family(
            "b3",
            ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3"),
            ("x-b3-traceid", "b3"),
            ("x-b3-spanid", "x-b3-parentspanid"),
        ),
        Family("envoy", (REQUEST_ID, "x-client-trace-id", "x-ot-span-context")),
        Family("skywalking", ("sw8", "sw8-correlation", "sw8-x"), ("sw8",)),
        Family(
            "datadog",
            (
                "x-datadog-trace-id",
                "x-datadog-parent-id",
                "x-datadog-sampling-priority",
                "x-datadog-origin",
                "x-datadog-tags",
            ),
            ("x-datadog-trace-id",),
            ("x-datadog-parent-id",),
        ),
        Family("clouds", ("x-cloud-trace-context", "x-amzn-trace-id"), ("x-cloud-trace-context", "x-amzn-trace-id")),
        Family("jaeger", ("uber-trace-id", "uberctx-*"), ("uber-trace-id",)),
        Family("lanes", ("x-asm-prefer-tag",)),
    )
}
"""By name, in the order in which a hop looks for a trace id."""

LISTS: Final = ("baggage", "tracestate")
"""Several headers of these names are one list (W3C Baggage 3.1, Trace Context 3.3.1)."""

DEFAULT_KEYS: Final = tuple(key for family in FAMILIES.values() for key in family.keys)
"""What a service forwards unless it is told otherwise."""
CARRIERS: Final = tuple(key for family in FAMILIES.values() for key in family.carriers)
_SPAN_KEYS: Final = frozenset(key for family in FAMILIES.values() for key in family.span_keys)


def carries_trace_id(key: str) -> bool:
    """True for a header whose value names the trace."""
    return key in CARRIERS


def is_span_key(key: str) -> bool:
    """True for a header that holds nothing but a span's id: another value at the next hop is no loss."""
    return key in _SPAN_KEYS


def family_of(key: str) -> str:
    """The name of the family that lists `key`; empty for a header of no family."""
    return next((family.name for family in FAMILIES.values() if matches(key, family.keys)), "")


def matches(key: str, entries: tuple[str, ...]) -> bool:
    """Whether `key` is one of the entries or begins with a prefix among them."""
    return any(key == entry or (entry[-1] == "*" and key.startswith(entry[:-1])) for entry in entries)
