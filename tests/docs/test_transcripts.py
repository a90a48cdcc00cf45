"""What the guides say that commands print, they print."""

import shutil

import pytest

from tests.docs.transcripts import LIMIT, Transcript, standard_output, transcripts
from tests.support.missing import missing
from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(LIMIT + 10)

PAGES = ("propagation.md", "ci.md")
SHOWN = [shown for page in PAGES for shown in transcripts(ROOT / "docs" / page)]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.command)
def test_a_command_of_a_guide_prints_what_is_shown(shown: Transcript) -> None:
    if "| jq " in shown.command and not shutil.which("jq"):
        missing("jq is not installed")
    printed = standard_output(shown.command)
    assert shown.differs_from(printed) is None, printed


def test_the_guide_shows_more_than_one_verdict() -> None:
    text = " ".join(part for shown in SHOWN for part in shown.parts)
    assert "connected: " in text
    assert "broken: " in text


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
