"""Which headers of an incoming call go on with the call that is made because of it. Copy this file whole."""

import os
from collections.abc import Iterable

Pair = tuple[str, str | bytes]

HEADERS = frozenset(
    (
        *("traceparent", "tracestate", "baggage"),
        *("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3"),
        *("x-request-id", "x-client-trace-id", "x-ot-span-context"),
        *("sw8", "sw8-correlation", "sw8-x"),
        *("x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority"),
        *("x-datadog-origin", "x-datadog-tags"),
        *("x-cloud-trace-context", "x-amzn-trace-id", "uber-trace-id", "x-asm-prefer-tag"),
    )
)
PREFIXES = ("uberctx-",)
OWN = frozenset(("x-lane", "end-user", "tenant-bin"))  # your routing and business headers: yours to name
BY_SDK = frozenset(os.environ.get("TALK_BY_SDK", "").split(","))  # an SDK here writes these: copied, they would be two


def onward(received: Iterable[Pair] | None) -> tuple[Pair, ...]:
    """The metadata of the onward call: raw copies in the order received, duplicates kept, never a dict."""
    pairs = tuple((key, value) for key, value in received or () if _goes_on(key, value))
    # Of two forms of B3 one is stale: up to 1.39 Envoy reads b3 first and writes x-b3-* alone anew.
    if any(key.startswith("x-b3-") for key, _ in pairs):
        return tuple(pair for pair in pairs if pair[0] != "b3")
    return pairs


def _goes_on(key: str, value: str | bytes) -> bool:
    # gRPC refuses to send text that is not printable ASCII: one such header would fail the whole onward call.
    sendable = isinstance(value, bytes) or (value.isascii() and value.isprintable())
    return sendable and key not in BY_SDK and (key in HEADERS or key in OWN or key.startswith(PREFIXES))
