"""The OpenTelemetry SDK beside us: what its propagator writes where one of its spans is active.

Nothing of it is imported before somebody else has: until then no span is active.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from grpc_tracing.headers.families import FAMILIES, Metadata


@dataclass(frozen=True, slots=True)
class Written:
    """What the SDK says of the active span, and all keys that are its propagator's to write."""

    pairs: Metadata
    keys: frozenset[str]


def written() -> Written | None:
    """None where no span is active: the received headers are all there is to say."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return None
    propagator = importlib.import_module("opentelemetry.propagate").get_global_textmap()
    carrier: dict[str, str] = {}
    propagator.inject(carrier)
    pairs = tuple((key.lower(), value) for key, value in carrier.items())
    return Written(pairs, with_family({key.lower() for key in propagator.fields} | {key for key, _ in pairs}))


def with_family(keys: set[str]) -> frozenset[str]:
    """Of B3's two spellings one beside the other is stale, so whoever writes a part of B3 writes all of it."""
    family = FAMILIES["b3"].keys
    return frozenset(keys.union(family) if keys.intersection(family) else keys)
