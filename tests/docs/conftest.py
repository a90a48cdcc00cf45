from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.kinds import KINDS


@dataclass(frozen=True)
class Example:
    """One of the guide's hops, ready to run."""

    kind: str
    command: Sequence[str | Path]

    @property
    def joins_duplicates(self) -> bool:
        """Node's HTTP/2 joins the text values of one key with a comma before gRPC sees them."""
        return self.kind == "node"


@pytest.fixture(scope="session", params=KINDS)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    return Example(request.param, KINDS[request.param](tmp_path_factory.mktemp(request.param)))
