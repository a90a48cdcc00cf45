"""A last hop that keeps what each call came with, and its address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.propagation.leaf import Leaf, serve


@pytest.fixture
def leaf() -> Leaf:
    return Leaf()


@pytest.fixture
def last(leaf: Leaf) -> Iterator[str]:
    with serve(leaf) as address:
        yield address
