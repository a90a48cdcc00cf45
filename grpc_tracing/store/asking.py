"""What a page is asked for: the time range, the filter as it was typed, what it means, and what is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from starlette.datastructures import QueryParams

from grpc_tracing.store.frame import LONGEST
from grpc_tracing.store.listing import SORTS, Filter, Wanted
from grpc_tracing.store.query import parse_duration

T = TypeVar("T")

_RANGES: Final = {"5m": ("5 min", 300), "15m": ("15 min", 900), "1h": ("1 hour", 3600), "all": ("All", 0)}
USUAL: Final = "1h"
STATES: Final = frozenset({"whole", "unproven", "broken", "failed", "error"})
GROUPS: Final = ("root", "route", "state")


@dataclass(frozen=True, slots=True)
class Range:
    """The time range asked for; one that is not known is an hour. `begin` and `end`, where given, stand for it."""

    name: str
    begin: str = ""
    end: str = ""

    @classmethod
    def of(cls, params: QueryParams) -> "Range":
        name = params.get("range", "")
        return cls(name if name in _RANGES else USUAL, params.get("from", "").strip(), params.get("to", "").strip())

    @property
    def choices(self) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in _RANGES.items()]

    @property
    def params(self) -> dict[str, str]:
        return {"range": self.name, "from": self.begin, "to": self.end}

    @property
    def chosen(self) -> str:
        """The name, where it stands by itself."""
        return "" if self.begin or self.end else self.name

    def bounds(self, now_ns: int) -> tuple[int, int]:
        """In Unix nanoseconds; what is no time is left out."""
        seconds = _RANGES[self.name][1] if self.chosen else 0
        begin = moment_or(self.begin, now_ns, now_ns - seconds * 10**9 if seconds else 0)
        return begin, moment_or(self.end, now_ns, LONGEST)

    def errors(self) -> dict[str, str]:
        """By field."""
        return {name: moment_error(text) for name, text in (("from", self.begin), ("to", self.end))}


def moment_or(text: str, now_ns: int, usual: int) -> int:
    """The time that a text names, in Unix nanoseconds; the usual one where it names none."""
    try:
        return parse_moment(text, now_ns) if text else usual
    except ValueError:
        return usual


def moment_error(text: str) -> str:
    """What is wrong with it, or nothing."""
    try:
        if text:
            parse_moment(text, 0)
    except ValueError as error:
        return f"{error}; this part of the filter is left out"
    return ""


def parse_moment(text: str, now_ns: int) -> int:
    """Unix nanoseconds of `2026-11-30T10:00:00Z`, in UTC where no zone is named, or of `15m`: so long ago.

    Raises ValueError.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now_ns - parse_duration(text.lstrip("-").removesuffix("ago").replace(" ", ""))
        except ValueError as error:
            raise ValueError(
                f"'{text}' is neither a time such as 2026-11-30T10:00Z nor a while ago such as 15m"
            ) from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1e6) * 1000


FIELDS: Final = (
    "service", "operation", "state", "min", "max", "attribute", "id", "path", "edge", "call", "least", "most",
)  # fmt: skip
"""What narrows the list; they stay in links."""


@dataclass(slots=True)
class Form:
    """The filter as it was typed, what it means, and what is wrong with it."""

    given: Mapping[str, str]
    errors: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(("min", "max", "attribute", "least", "most"), "")
    )

    @classmethod
    def of(cls, params: QueryParams) -> "Form":
        given = {name: params.get(name, "").strip() for name in (*FIELDS, "page", "sort", "group")}
        given["state"] = given["state"] if given["state"] in STATES else ""
        return cls(given)

    def __getattr__(self, name: str) -> str:
        if name in FIELDS:
            return self.given[name]
        raise AttributeError(name)

    @property
    def page(self) -> int:
        return page_number(self.given["page"])

    @property
    def sort(self) -> str:
        return self.given["sort"] if self.given["sort"] in SORTS else next(iter(SORTS))

    @property
    def group(self) -> str:
        return self.given["group"] if self.given["group"] in GROUPS else ""

    @property
    def params(self) -> dict[str, str]:
        """What was asked for, without what means nothing."""
        found = {name: self.given[name] for name in FIELDS}
        found |= {"sort": "" if self.sort == next(iter(SORTS)) else self.sort, "group": self.group}
        return {name: value for name, value in found.items() if value}

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.filter, self.page, sort=self.sort, group=self.group)

    @property
    def filter(self) -> Filter:
        get = self.given
        return Filter(
            service=get["service"],
            operation=get["operation"],
            state=get["state"],
            min_ns=self._read("min", _duration) or 0,
            max_ns=self._read("max", _duration),
            attribute=self._read("attribute", _attribute),
            id=get["id"].lower(),
            path=get["path"],
            edge=get["edge"],
            call=get["call"],
            least_ns=self._read("least", _duration) or 0,
            most_ns=self._read("most", _duration),
        )

    def _read(self, name: str, read: Callable[[str], T]) -> T | None:
        text = self.given[name]
        try:
            return read(text) if text else None
        except ValueError as error:
            self.errors[name] = f"{error}; this part of the filter is left out"
            return None


def _duration(text: str) -> int:
    return parse_duration(text.replace(" ", ""))


def _attribute(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ValueError(f"'{text[:60]}' is not an attribute: write key=value, for example grpc.status_code=14")
    return key.strip(), value.strip()


def page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 8 and int(text) else 1
