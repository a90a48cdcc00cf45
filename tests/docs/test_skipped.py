"""The README tells completely which tests are skipped without what."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.missing import SKIPPED, table
from tests.support.processes import ROOT

OURS = {"uv"}
"""Programs that ./check.sh installs itself."""


def _looked_for(file: Path) -> Iterator[str]:
    """The programs that a test looks for on the machine by name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("which", "need"):
                yield str(node.args[0].value)


def test_every_program_that_a_test_looks_for_is_in_the_table() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), ROOT / "scripts" / "examples.py"]
    found = {program for file in files for program in _looked_for(file)}
    assert found - OURS == set(SKIPPED)


def test_the_readme_shows_the_table() -> None:
    assert table() in (ROOT / "README.md").read_text(), table()
