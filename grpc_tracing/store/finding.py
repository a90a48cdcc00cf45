"""Searching within one trace: which of its spans tell a text."""

from collections.abc import Iterator

from grpc_tracing.spans.model import Attributes, Span
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store.waterfall import Bar


def found(trace: Trace, bars: tuple[Bar, ...], text: str) -> tuple[int, ...]:
    """The rows whose span has all words of the text somewhere, in whatever case; none for a text without words.

    A word such as `http.status_code=503` looks for an attribute and its value.
    """
    words = text.casefold().split()
    if not words:
        return ()
    return tuple(index for index, row in enumerate(trace.rows) if _has(row.span, bars[index], words))


def _has(span: Span, bar: Bar, words: list[str]) -> bool:
    told = "\n".join(_told(span, bar)).casefold()
    return all(word in told for word in words)


def _told(span: Span, bar: Bar) -> Iterator[str]:
    yield from (bar.node, bar.name, bar.role, span.name, span.kind, span.span_id, span.parent_id)
    yield from (span.message, span.scope, "error" if span.error else "")
    yield from _pairs(span.attributes)
    yield from _pairs(span.resource)
    for event in span.events:
        yield event.name
        yield from _pairs(event.attributes)


def _pairs(attributes: Attributes) -> Iterator[str]:
    return (f"{key}={value}" for key, value in attributes)
