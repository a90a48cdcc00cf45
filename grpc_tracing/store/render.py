"""Jinja2 for the pages and the reports: how numbers, times and services are written."""

import base64
import hashlib
import http.client
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Protocol, Self

import grpc
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from grpc_tracing.printable import printable
from grpc_tracing.store.timeline import bars

# Hues of the style sheet, c0 to c9. The salt keeps the chain's services apart: no two of them share a hue.
_HUES = 10
_SALT = b"8"
STYLES = ("style.css", "seam.css", "wholeness.css")


class Links(Protocol):
    """Where things are: pages of a server, or places in one file."""

    def trace(self, trace_id: str) -> str: ...

    def events(self, trace_id: str, span_id: str) -> str: ...

    def traces(self, **filters: str) -> str: ...

    def json(self, trace_id: str) -> str: ...

    def one(self, trace_id: str, key: str) -> str: ...

    def node(self, name: str) -> str: ...

    paths: Any
    """Called with filters, or None where there is no such page."""

    def raw(self, trace_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Style:
    """The style sheets for a file that holds them itself, and the hash by which the file's policy allows it."""

    sheet: Markup
    hash: str

    @classmethod
    def read(cls) -> Self:
        static = files("grpc_tracing.store").joinpath("static")
        text = "".join(static.joinpath(name).read_text(encoding="utf-8") for name in STYLES)
        return cls(Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())  # noqa: S704 - ours


def environment() -> Environment:
    """Every value is escaped, control characters too; a missing one is an error."""
    made = Environment(
        loader=PackageLoader("grpc_tracing.store"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["styles"] = STYLES
    made.filters |= {
        "duration": duration,
        "clock": clock,
        "bars": bars,
        "exact": exact,
        "moment": moment,
        "percent": percent,
        "rate": rate,
        "hue": hue,
        "sign": sign,
        "plural": plural,
        "mib": mib,
        "indent": indent,
        "spelled": spelled,
        "is_id": is_id,
    }
    return made


def _shown(value: Any) -> Any:
    """Text as it can be shown: names, attributes and messages are what somebody sent."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else printable(value, keep="\n\t")


def duration(ns: float) -> str:
    """Three digits and a unit: `9.12 ms`."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        # What would be rounded up to a thousand of a unit stands in the next one.
        if ns >= size * 0.9995:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def _three_digits(value: float) -> str:
    places = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{places}f}"


def exact(ns: int) -> str:
    """Milliseconds with all digits, as a filter reads them."""
    return f"{ns // 10**6}.{ns % 10**6:06d}".rstrip("0").rstrip(".") + "ms"


def clock(ns: int) -> str:
    """The time of day, to the millisecond."""
    return _time(ns).strftime("%H:%M:%S.") + f"{ns // 10**6 % 1000:03d}"


def moment(ns: int) -> str:
    """RFC 3339, to the microsecond."""
    return _time(ns).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ns // 1000 % 10**6:06d}Z"


def _time(ns: int) -> datetime:
    # OTLP's 64 bits end in the year 2554, long before datetime does.
    return datetime.fromtimestamp(ns // 10**9, UTC)


def percent(share: float) -> str:
    """`12 %`, and never 0 % for something nor 100 % for less than all."""
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{min(round(share * 100), 99 if share < 1 else 100)} %"


def rate(per_minute: float) -> str:
    return f"{per_minute:,.0f}" if per_minute >= 100 else f"{per_minute:.3g}"


def hue(node: str) -> str:
    """The style class of a node's colour: the same on every page, in every run."""
    return f"c{zlib.crc32(_SALT + node.encode()) % _HUES}"


# Shapes of the style sheet, s0 to s5: who does not tell the hues apart tells these apart.
_SIGNS = 6


def sign(node: str) -> str:
    """The style class of a node's shape, which stands beside its colour."""
    return f"s{zlib.crc32(node.encode()) % _SIGNS}"


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def mib(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"


def indent(depth: int) -> int:
    """Pixels for a depth: deeper is always further in, and the deepest leaves room for what stands there."""
    return round(210 * depth / (depth + 14))


_GRPC_STATUS = ("grpc.status_code", "rpc.grpc.status_code", "rpc.response.status_code")
_HTTP_STATUS = ("http.status_code", "http.response.status_code")
_GRPC_NAMES = {str(code.value[0]): code.name for code in grpc.StatusCode}


def spelled(value: str, key: str) -> str:
    """A status code with its name beside it: `14 UNAVAILABLE`; other values as they are."""
    if key in _GRPC_STATUS:
        return f"{value} {_GRPC_NAMES[value]}" if value in _GRPC_NAMES else value
    if key in _HTTP_STATUS and value.isascii() and value.isdigit():
        phrase = http.client.responses.get(int(value[:4]), "")
        return f"{value} {phrase}".rstrip()
    return value


_ID = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{16})?|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_id(value: str) -> bool:
    """Whether it is an id that is read and copied as a whole: of a trace, a span, a request."""
    return _ID.fullmatch(value) is not None
