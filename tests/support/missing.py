"""What a test needs of the machine and does not find there."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skips, but in CI, which has everything, fails."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
