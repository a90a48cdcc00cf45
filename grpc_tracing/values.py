"""Durations and sizes as people write them, read in one place."""

import re
from typing import Final

_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"([\d.]+)([a-zµ]+)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE: Final = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB)")
_BYTES: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_COUNT: Final = re.compile(r"[1-9][0-9]{0,8}")
_LEAST_STORE: Final = 16 * 1024**2


def duration(text: str) -> float:
    """Seconds in `500ms`, `10s`, `2m` or `1m30s`, as Go writes durations. ValueError says how to write one."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write a number with ms, s, m or h, for example 500ms or 10s")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def positive_duration(text: str) -> float:
    """`duration`, above 0."""
    seconds = duration(text)
    if not seconds:
        raise ValueError(f"{text!r} is zero: write a duration above 0 such as 500ms, 5s or 2m")
    return seconds


def size(text: str) -> int:
    """Bytes in `64MiB` or `1GiB`. ValueError says how to write one."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a size: write one such as 64MiB or 1GiB")
    return int(match[1]) * _BYTES[match[2]]


def store_size(text: str) -> int:
    """`size`, as a store of spans needs it at least."""
    given = size(text)
    if given < _LEAST_STORE:
        raise ValueError(f"{text!r} is too little; the least is {_LEAST_STORE // 1024**2}MiB")
    return given


def count(text: str) -> int:
    """A whole number from 1 on. ValueError says so."""
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number from 1 on")
    return int(text)
