"""A span, whoever reads it and from whatever format: immutable, every value as text."""

from dataclasses import dataclass
from enum import StrEnum

Attributes = tuple[tuple[str, str], ...]
Links = tuple[tuple[str, str], ...]
"""Trace id and span id of each span that is linked to and is no parent."""


class Kind(StrEnum):
    """The span kinds of OTLP, in the order of their numbers, spelled as Jaeger's operations spell them."""

    UNSPECIFIED = "unspecified"
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Event:
    """A span event; a Zipkin annotation is one too."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Ids are lower-case hex, `parent_id` is empty where there is none; times are Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    service: str
    version: str
    start_ns: int
    end_ns: int
    error: bool
    message: str
    attributes: Attributes
    resource: Attributes
    events: tuple[Event, ...]
    links: Links = ()
    scope: str = ""
    """What made it, with its version: `io.opentelemetry.grpc 1.6`."""
    dropped: tuple[int, int, int] = (0, 0, 0)
    """Attributes, events and links that its maker left out."""

    @property
    def duration_ns(self) -> int:
        """Never negative: clocks step back, spans do not."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def duration_ms(self) -> float:
        return self.duration_ns / 1e6

    def attribute(self, *keys: str) -> str:
        """The value of the first of these keys that is there, else an empty string."""
        found = dict(self.attributes)
        return next((found[key] for key in keys if key in found), "")
