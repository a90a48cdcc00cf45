"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_STEP = 0.01


def wait_for(condition: Callable[[], T], description: str, timeout: float = 60.0) -> T:
    """Returns the condition's first true value; AssertionError with `description` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {description}"
        time.sleep(_STEP)
    return value


async def wait_until(condition: Callable[[], Awaitable[T]], description: str, limit: float = 60.0) -> T:
    """`wait_for` where the condition is awaited and the event loop must go on."""
    deadline = time.monotonic() + limit
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not within {limit} s: {description}"
        await asyncio.sleep(_STEP)
    return value
