"""Meshes for tests: one that nobody changes is shared, the others are the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.support import Mesh, mesh, state_directory


@pytest.fixture(scope="session")
def shared_mesh() -> Iterator[Mesh]:
    """A mesh as `up` makes it. Call it, and leave it as it is."""
    with mesh() as one:
        yield one


@pytest.fixture
def state() -> Iterator[Path]:
    with state_directory() as directory:
        yield directory
