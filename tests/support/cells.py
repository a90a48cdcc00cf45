"""Tables of tests: a few of their cells run by default, the others with --full."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def cells(values: Iterable[Any], default: Collection[Any]) -> list[Any]:
    """For a parameter: those in `default` run by default. They have to be among the values."""
    return [pytest.param(value, marks=_marks(value, default)) for value in _checked(values, default)]


def rows(table: Iterable[tuple[Any, ...]], default: Collection[tuple[Any, ...]]) -> list[Any]:
    """The same for several parameters at once."""
    return [pytest.param(*row, marks=_marks(row, default)) for row in _checked(table, default)]


def _checked(values: Iterable[Any], default: Collection[Any]) -> list[Any]:
    found = list(values)
    assert all(one in found for one in default), f"{default} are not all in the table"
    return found


def _marks(value: Any, default: Collection[Any]) -> Collection[pytest.MarkDecorator]:
    return () if value in default else (pytest.mark.full,)
