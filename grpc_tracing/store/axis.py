"""A time axis as pictures draw it: places in its own units, whatever the window's width."""

from typing import Final

SCALE: Final = 1000
"""The width of the axis in its own units."""


def stretch(begin: int, lasts: int, length: int, narrowest: float) -> tuple[float, float]:
    """Left and width of what begins so long after the axis' start; all in ns. It is never narrower than this."""
    left = min(SCALE - narrowest, begin * SCALE / length)
    width = max(narrowest, min(SCALE - left, lasts * SCALE / length))
    return round(left, 1), round(width, 1)


def ticks(length: int, parts: int) -> tuple[int, ...]:
    """The times, in ns from the start, that part the axis."""
    return tuple(length * part // parts for part in range(parts + 1))
