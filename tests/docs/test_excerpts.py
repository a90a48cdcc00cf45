"""The guide's code is what runs, its outputs are what commands print, and its examples know every header."""

import re
from pathlib import Path

import pytest

from docs.examples import propagation as example
from grpc_tracing.headers.families import DEFAULT_KEYS
from scripts.examples import EXAMPLES
from tests.docs.excerpts import FIXES_FILE, excerpt, fixes, guides, refreshed
from tests.support.processes import ROOT

GUIDE = tuple(ROOT / "docs" / name for name in ("propagation.md", "java.md", "go.md", "node.md"))
CODE = ("python", "go", "js", "java")
DEFAULT = set(DEFAULT_KEYS)

PAGE = """
<!-- excerpt: code.py greet Host.name -->
```python
def greet() -> str:
    return "hello"

@property
def name(self) -> str:
    return "svc1"
```
"""
SOURCE = """
def greet() -> str:
    return "hello"


class Host:
    @property
    def name(self) -> str:
        return "svc1"
"""
MARKED = "  // excerpt: greet\n  greet();\n  // excerpt end\n"


@pytest.mark.parametrize("page", guides(), ids=lambda page: page.name)
def test_every_excerpt_is_what_its_file_has(page: Path) -> None:
    text = page.read_text()
    assert text == refreshed(text), "run python -m tests.docs.excerpts"


def test_the_fix_that_the_store_shows_is_what_the_files_have() -> None:
    assert FIXES_FILE.read_text() == fixes(), "run python -m tests.docs.excerpts"


def test_no_code_in_the_guide_is_without_a_file() -> None:
    text = "\n".join(page.read_text() for page in GUIDE)
    blocks = re.findall(rf"^(.*)\n```(?:{'|'.join(CODE)})$", text, re.MULTILINE)
    assert [line for line in blocks if not line.startswith("<!-- excerpt: ")] == []
    assert {language for language in CODE if f"-->\n```{language}\n" in text} == set(CODE)


@pytest.mark.parametrize("page", GUIDE[1:], ids=lambda page: page.name)
def test_a_languages_page_begins_with_its_code(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert next(number for number, line in enumerate(lines) if line.startswith("```")) < 10, "a first screen"


def test_an_excerpt_is_found_by_name_and_put_in_whole(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(SOURCE)
    assert refreshed(PAGE, tmp_path) == PAGE


@pytest.mark.parametrize(
    ("was", "now"), [('"hello"', '"good day"'), ("@property", "@cached_property"), ("-> str", "-> object")]
)
def test_a_change_on_either_side_shows(tmp_path: Path, was: str, now: str) -> None:
    (tmp_path / "code.py").write_text(SOURCE.replace(was, now))
    assert refreshed(PAGE, tmp_path) != PAGE
    (tmp_path / "code.py").write_text(SOURCE)
    assert refreshed(PAGE.replace(was, now), tmp_path) == PAGE


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(SOURCE)
    with pytest.raises(LookupError, match=r"code\.py: no Host\.address"):
        refreshed(PAGE.replace("Host.name", "Host.address"), tmp_path)


def test_other_languages_mark_their_excerpts(tmp_path: Path) -> None:
    file = tmp_path / "code.js"
    file.write_text(MARKED)
    assert excerpt(file, ["greet"]) == "greet();\n"


def test_the_example_forwards_the_default_list_and_no_other_header() -> None:
    assert example.HEADERS | {f"{prefix}*" for prefix in example.PREFIXES} == DEFAULT


@pytest.mark.parametrize("file", ["node/hop.js", "go/main.go", "java/Hop.java"])
def test_the_other_languages_forward_the_same_headers(file: str) -> None:
    text = (EXAMPLES / file).read_text()
    listed = {name for _, name in re.findall(r"(['\"])([a-z][a-z0-9-]+)\1", text.split("excerpt: onward")[0])}
    assert {key for key in listed if key != "use strict"} >= example.HEADERS | example.OWN
    assert all(prefix in text for prefix in example.PREFIXES)
