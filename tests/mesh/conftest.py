"""What the tests of the mesh share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.support import state_directory


@pytest.fixture
def state() -> Iterator[Path]:
    with state_directory() as directory:
        yield directory
