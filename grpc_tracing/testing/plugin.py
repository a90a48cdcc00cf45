"""Fixtures for pytest. Nothing is imported before a test asks: each run of pytest loads this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from grpc_tracing.testing.leaf import Leaf


@pytest.fixture
def trace_leaf() -> Iterator[Leaf]:
    """A last hop that answers any method; give its `target` to the service as its next hop."""
    from grpc_tracing.testing.leaf import Leaf  # noqa: PLC0415

    with Leaf() as leaf:
        yield leaf


@pytest.fixture
def check_propagation(trace_leaf: Leaf) -> Callable[..., None]:
    """`check_propagation(target, method, …)`: AssertionError names what became of which header in which call."""
    from grpc_tracing.testing.check import check_propagation as check  # noqa: PLC0415

    return partial(check, trace_leaf)
