from collections.abc import Iterator

import pytest

from tests.deploy.engine import Images, images, need_engine


@pytest.fixture(scope="session")
def built() -> Iterator[Images]:
    """Our two images, on a real engine."""
    need_engine()
    with images() as made:
        yield made
