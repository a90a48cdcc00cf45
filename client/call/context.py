"""The requester's own headers: the request id, and a trace context where it begins the trace."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass

from grpc_tracing.headers.families import REQUEST_ID, Metadata, carries_trace_id


@dataclass(frozen=True)
class TraceContext:
    """Ids in lower-case hex, 32 and 16 digits."""

    trace_id: str
    span_id: str

    def headers(self) -> Metadata:
        """The context in the two families that meshes read, with one trace id, sampled."""
        return (
            ("traceparent", f"00-{self.trace_id}-{self.span_id}-01"),
            ("x-b3-traceid", self.trace_id),
            ("x-b3-spanid", self.span_id),
            ("x-b3-sampled", "1"),
        )


def new_context() -> TraceContext:
    """Random ids; nobody exports the span that they name."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8))


def begins_a_trace(custom: Metadata) -> bool:
    """True where the user's own -H headers carry a trace id: then no other may be sent."""
    return any(carries_trace_id(key) for key, _ in custom)


def metadata(custom: Metadata, context: TraceContext | None) -> Metadata:
    """What a call sends: a request id unless the user gives one, the trace context, the user's headers."""
    given = any(key == REQUEST_ID for key, _ in custom)
    own: Metadata = () if given else ((REQUEST_ID, str(uuid.uuid4())),)
    return (*own, *(context.headers() if context else ()), *custom)
