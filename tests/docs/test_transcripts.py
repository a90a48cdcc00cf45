"""What the guides say that commands print, they print."""

import shutil

import pytest

from client.cli import EXIT_CODES
from tests.docs.transcripts import LIMIT, Transcript, standard_output, transcripts
from tests.support.cells import cells
from tests.support.missing import missing
from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(LIMIT + 10)

PAGES = ("README.md", "docs/propagation.md", "docs/ci.md")
SHOWN = [shown for page in PAGES for shown in transcripts(ROOT / page) if shown.command != "./check.sh"]


BY_DEFAULT = [shown for number, shown in enumerate(SHOWN) if not number or "--no-mesh" in shown.command]
"""The README's, and those that need no mesh."""


@pytest.mark.parametrize("shown", cells(SHOWN, BY_DEFAULT), ids=lambda shown: shown.command)
def test_a_command_of_a_guide_prints_what_is_shown(shown: Transcript) -> None:
    if "| jq " in shown.command and not shutil.which("jq"):
        missing("jq is not installed")
    printed = standard_output(shown.command)
    assert shown.differs_from(printed) is None, printed


@pytest.mark.parametrize(("word", "code"), EXIT_CODES.items())
def test_each_of_the_four_words_is_shown_with_its_exit_code(word: str, code: int) -> None:
    ends = [part for shown in SHOWN for part in shown.parts if part.endswith(f"\nexit code {code}\n")]
    assert any(f"\n{word}: " in f"\n{part}" for part in ends)


@pytest.mark.parametrize(
    ("shown", "printed", "different"),
    [
        (["OK in 1.5 ms\nend\n"], "OK in 22 ms\nend\n", None),
        (["OK\n"], "UNKNOWN\n", "OK\n"),
        (["a\n", "c\n"], "a\nb\nc\n", None),
        (["a\nc\n"], "a\nb\nc\n", "a\nc\n"),
        (["c\n", "a\n"], "a\nb\nc\n", "a\n"),
    ],
)
def test_times_may_differ_and_nothing_else(shown: list[str], printed: str, different: str | None) -> None:
    assert Transcript("true", tuple(shown)).differs_from(printed) == different
