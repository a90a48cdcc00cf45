"""What the pages point to is there: files, headings, and the files that commands name."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.excerpts import guides
from tests.support.processes import ROOT

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_NAMED = re.compile(r"(?:^|[\s`'\"=])(\./\w[\w./-]*)|python -m ([\w.]+)|kubectl [^`\n]*-k ([\w./-]+)", re.MULTILINE)

PAGES = (*guides(), ROOT / "bench" / "README.md")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not leads_somewhere(page, link)] == []


@every_page
def test_every_file_that_a_command_names_is_there(page: Path) -> None:
    assert [file for file in files(page) if not (ROOT / file).exists()] == []


def links(page: Path) -> Iterator[str]:
    text = _CODE.sub("", page.read_text())
    return (link for link in _LINK.findall(text) if not urlsplit(link).scheme)


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not heading or heading in anchors(target))


def anchors(page: Path) -> set[str]:
    """As the usual hosts of repositories make them from headings."""
    headings = _HEADING.findall(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files(page: Path) -> Iterator[str]:
    """The files of this repository that commands name: programs, modules, folders of objects."""
    for code in _CODE.findall(page.read_text()):
        for program, module, folder in _NAMED.findall(code):
            if program or folder:
                yield program or folder
            elif module.partition(".")[0] not in {*sys.stdlib_module_names, "pip"}:
                path = module.replace(".", "/")
                yield path if (ROOT / path).is_dir() else f"{path}.py"
