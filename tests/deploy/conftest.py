from collections.abc import Iterator

import pytest

from tests.deploy.compose.composed import Project, project
from tests.deploy.engine import Images, images, need_engine


@pytest.fixture(scope="session")
def built() -> Iterator[Images]:
    """Our two images, on a real engine."""
    need_engine()
    with images() as made:
        yield made


@pytest.fixture(scope="module")
def compose(built: Images) -> Iterator[Project]:
    """compose.yaml, up; a test that changes it puts it right again."""
    with project(built) as made:
        made.up()
        yield made
