"""Shared by all folders: what is dear to make."""

from pathlib import Path

import pytest

from tests.talk.instrumented import install


@pytest.fixture(scope="session")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with gRPC and the instrumentations, which would reach into pytest's own process otherwise."""
    folder = tmp_path_factory.mktemp("instrumented") / "venv"
    install(folder)
    return folder
