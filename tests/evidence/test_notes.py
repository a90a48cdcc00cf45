"""The table of notes: each has its row in the troubleshooting guide, in the program's words."""

import re

import pytest

from grpc_tracing.evidence.notes import NOTES, note
from tests.support.processes import ROOT

GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTION = GUIDE.partition("\n## Notes\n")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", SECTION, re.MULTILINE))


@pytest.mark.parametrize("sentence", NOTES.values(), ids=NOTES)
def test_each_note_has_its_row_in_the_guide_under_the_very_words(sentence: str) -> None:
    assert sentence in ROWS


def test_the_guide_explains_no_note_that_is_never_printed() -> None:
    assert sorted(ROWS) == sorted(NOTES.values())


def test_a_note_without_its_facts_cannot_be_made() -> None:
    assert note("lost", key="baggage") == "baggage was lost"
    with pytest.raises(KeyError):
        note("lost")
