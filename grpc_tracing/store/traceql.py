"""The part of TraceQL that Grafana's search builder writes: one spanset filter, `{ … }`, of comparisons.

Comparisons are joined by `&&` and `||`, with parentheses. Read in Tempo's documentation of TraceQL and in Grafana's
Tempo data source (src/SearchTraceQLEditor/utils.ts).
"""

from __future__ import annotations

import json
import operator as op
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from grpc_tracing import values
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.tree import Trace

_LONGEST: Final = 4096
"""Characters of a query."""
_DEEPEST: Final = 32
"""Parentheses within each other."""
_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<time>\d+(?:\.\d+)?[a-zµ][\w.]*)
    |(?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    |(?P<name>(?:\.|[A-Za-z_])[\w./:-]*(?:"(?:[^"\\\n]|\\.)*")?)
    |(?P<sign>&&|\|\||=~|!~|!=|>=|<=|[=<>(){}])
    )""",
    re.VERBOSE,
)
_OPERATORS: Final = frozenset({"=", "!=", "=~", "!~", ">", ">=", "<", "<="})
_SCOPES: Final = ("resource", "span")
_SPELLED: Final = {
    "span:duration": "duration",
    "span:kind": "kind",
    "span:name": "name",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "trace:duration": "traceDuration",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
}
_TIMES: Final = frozenset({"duration", "traceDuration"})
_SUBSET: Final = (
    'this store reads one filter such as {resource.service.name="x" && name="y" && status=error && duration>100ms}'
)


class TraceQlError(ValueError):
    """What the store does not read; the text names the place and what it does read."""


class Spot(NamedTuple):
    """A span, and the trace that it stands in."""

    span: Span
    trace: Trace


Filter = Callable[[Spot], bool]


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(query: str) -> Filter:
    """Says of a span whether it fits; an empty query and `{}` fit every span. Raises TraceQlError."""
    if len(query) > _LONGEST:
        raise TraceQlError(f"the query has {len(query):,} characters: {_LONGEST:,} are read at most")
    return _Parser(list(_tokens(query))).whole() if query.strip() else _every


def _every(_: Spot) -> bool:
    return True


def _tokens(query: str) -> Iterator[_Token]:
    at = 0
    while query[at:].strip():
        match = _TOKEN.match(query, at)
        if not match:
            at += len(query[at:]) - len(query[at:].lstrip())
            raise TraceQlError(f"{query[at : at + 20]!r} at character {at + 1} is not known here: {_SUBSET}")
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind) + 1)
        at = match.end()


class _Parser:
    """By recursive descent: `||` binds less than `&&`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def whole(self) -> Filter:
        self._expect("{")
        fits = _every if self._at("}") else self._either()
        self._expect("}")
        if self._place < len(self._tokens):
            self._refuse("the end")
        return fits

    def _either(self) -> Filter:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda spot: any(part(spot) for part in parts)

    def _both(self) -> Filter:
        parts = [self._one()]
        while self._take("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda spot: all(part(spot) for part in parts)

    def _one(self) -> Filter:
        if self._take("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise TraceQlError(f"more than {_DEEPEST} parentheses within each other")
            inner = self._either()
            self._expect(")")
            self._depth -= 1
            return inner
        if self._take("true"):
            return _every
        field = self._next("a field such as name, status, duration or resource.service.name", "name").text
        operator = self._next(f"one of {' '.join(sorted(_OPERATORS))}", "sign", _OPERATORS).text
        value = self._next('a value such as "text", 12, 100ms or error', "text", "time", "number", "name")
        return _comparison(field, operator, value)

    def _at(self, text: str) -> bool:
        return self._place < len(self._tokens) and self._tokens[self._place].text == text

    def _take(self, text: str) -> bool:
        taken = self._at(text)
        self._place += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._refuse(text)

    def _next(self, what: str, *kinds: str | frozenset[str]) -> _Token:
        if self._place == len(self._tokens):
            self._refuse(what)
        token = self._tokens[self._place]
        signs = next((one for one in kinds if isinstance(one, frozenset)), None)
        if token.kind not in kinds or (signs is not None and token.text not in signs):
            self._refuse(what)
        self._place += 1
        return token

    def _refuse(self, what: str) -> NoReturn:
        if self._place < len(self._tokens):
            token = self._tokens[self._place]
            raise TraceQlError(f"{token.text[:40]!r} at character {token.at}, expected {what[:80]}: {_SUBSET}")
        raise TraceQlError(f"the query ends early, expected {what[:80]}: {_SUBSET}")


def _comparison(field: str, operator: str, value: _Token) -> Filter:
    read = reader(field)
    if value.text == "nil" and operator in {"=", "!="}:
        return lambda spot: (read(spot) is None) is (operator == "=")
    if operator in {"=~", "!~"}:
        fits = _pattern(_plain(value))
        return _holding(read, lambda found: fits(str(found)) is (operator == "=~"))
    return _holding(read, _compared(_SPELLED.get(field, field), operator, value))


def _holding(read: Callable[[Spot], str | int | None], holds: Callable[[str | int], bool]) -> Filter:
    """What is not there fits nothing."""

    def fits(spot: Spot) -> bool:
        found = read(spot)
        return found is not None and holds(found)

    return fits


def _compared(field: str, operator: str, value: _Token) -> Callable[[str | int], bool]:
    compare = _COMPARE[operator]
    if field in _TIMES:
        if value.kind != "time":
            raise TraceQlError(f"{field} is compared with a time such as 100ms or 1.5s, not with {value.text[:40]}")
        limit = _ns(value.text)
        return lambda found: compare(int(found), limit)
    wanted = _plain(value)
    if field == "status":
        wanted = "unset" if wanted == "ok" else wanted
    if value.kind in {"number", "time"} or operator in _ORDER:
        number = _number(wanted) if value.kind != "time" else _ns(wanted)
        if number is None:
            raise TraceQlError(f"{operator} compares numbers and times, not {value.text[:40]}")
        return lambda found: (known := _number(str(found))) is not None and compare(known, number)
    return lambda found: compare(str(found), wanted)


def _ns(text: str) -> float:
    try:
        return values.duration(text) * 1e9
    except ValueError as error:
        raise TraceQlError(str(error)) from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_ORDER: Final = frozenset({">", ">=", "<", "<="})
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": op.eq,
    "!=": op.ne,
    ">": op.gt,
    ">=": op.ge,
    "<": op.lt,
    "<=": op.le,
}


def _plain(value: _Token) -> str:
    if value.kind != "text":
        return value.text
    return value.text[1:-1] if value.text.startswith("`") else _unquoted(value.text)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise TraceQlError(f"{text[:40]} is no text: a backslash stands before a quote, a backslash, n or t") from None


def reader(field: str) -> Callable[[Spot], str | int | None]:
    """The field's value; None where a span has none. Raises TraceQlError for what is no field."""
    field = _SPELLED.get(field, field)
    if field in _INTRINSIC:
        return _INTRINSIC[field]
    scope, dot, key = field.partition(".")
    key = _unquoted(key) if key.startswith('"') else key
    if not dot or not key or scope not in {"", *_SCOPES}:
        known = ", ".join(INTRINSICS)
        raise TraceQlError(f"{field[:40]!r} is no field that is read here: {known}, resource.NAME, span.NAME, .NAME")
    return lambda spot: attribute(spot.span, scope, key)


def attribute(span: Span, scope: str, key: str) -> str | None:
    """Of the span's own, of its resource's, or of either where `scope` is empty."""
    own = dict(span.attributes) if scope != "resource" else {}
    resource = dict(span.resource) if scope != "span" else {}
    return own.get(key, resource.get(key))


def status(span: Span) -> str:
    """Whether a span without an error says so, or nothing, is not kept."""
    return "error" if span.error else "unset"


_INTRINSIC: Final[dict[str, Callable[[Spot], str | int | None]]] = {
    "duration": lambda spot: spot.span.duration_ns,
    "kind": lambda spot: spot.span.kind.value,
    "name": lambda spot: spot.span.name,
    "rootName": lambda spot: spot.trace.tops[0].name,
    "rootServiceName": lambda spot: spot.trace.tops[0].service,
    "status": lambda spot: status(spot.span),
    "statusMessage": lambda spot: spot.span.message,
    "traceDuration": lambda spot: spot.trace.duration_ns,
}
INTRINSICS: Final = tuple(_INTRINSIC)


def _pattern(text: str) -> Callable[[str], bool]:
    """Whole texts, joined by `|`, in which `.*` stands for anything: what is no such pattern could run for ever."""
    alternatives = [list(_pieces(one)) for one in _alternatives(text)]
    return lambda found: any(_fits(found, pieces) for pieces in alternatives)


def _alternatives(text: str) -> list[str]:
    inner = text.removeprefix("^").removesuffix("$")
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    return re.split(r"(?<!\\)\|", inner)


def _pieces(text: str) -> Iterator[str]:
    """The plain texts between the `.*`."""
    for part in text.split(".*"):
        plain = re.sub(r"\\(\W)", "", part)
        if re.search(r"[.^$*+?()\[\]{}\\]", plain):
            raise TraceQlError(f"the pattern {text[:40]!r} is not read here: texts joined by |, and .* for anything")
        yield re.sub(r"\\(\W)", r"\1", part)


def _fits(found: str, pieces: Sequence[str]) -> bool:
    if len(pieces) == 1:
        return found == pieces[0]
    first, *between, last = pieces
    if not (found.startswith(first) and found.endswith(last) and len(found) >= len(first) + len(last)):
        return False
    at, end = len(first), len(found) - len(last)
    for piece in between:
        at = found.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
