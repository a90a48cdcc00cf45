from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.docs.kinds import KINDS
from tests.support.cells import cells


@dataclass(frozen=True)
class Example:
    """One of the guide's hops, ready to run."""

    kind: str
    command: Sequence[str | Path]

    @property
    def joins_duplicates(self) -> bool:
        """Node's HTTP/2 joins the text values of one key with a comma before gRPC sees them."""
        return self.kind == "node"


BY_DEFAULT = ("aio-library",)
"""One of each API, and of each way; those of other languages run by default in svc2's place."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Example]:
    """Makes each example ready once."""
    return cache(lambda kind: Example(kind, KINDS[kind](tmp_path_factory.mktemp(kind))))


@pytest.fixture(scope="session", params=cells(KINDS, BY_DEFAULT))
def example(request: pytest.FixtureRequest, made: Callable[[str], Example]) -> Example:
    return made(request.param)
