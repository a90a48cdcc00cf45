"""Spans as tables spell them."""

from grpc_tracing.spans.model import Kind, Span


def make(  # noqa: PLR0917 - positions are the columns of tables
    trace_id: str,
    span_id: str,
    parent_id: str,
    service: str,
    name: str,
    kind: str,
    start_ns: int,
    end_ns: int,
    error: bool = False,
    **attributes: str,
) -> Span:
    """A span of version `v1` with what a test does not care about left empty."""
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        kind=Kind(kind),
        service=service,
        version="",
        start_ns=start_ns,
        end_ns=end_ns,
        error=error,
        message="",
        attributes=tuple(attributes.items()),
        resource=(),
        events=(),
    )
