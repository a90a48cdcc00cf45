"""The outputs in the guide: commands run again, and compared but for times, ids and ports."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT, environment

LIMIT = 240.0
"""Seconds for one command; only a hang takes longer."""

_BLOCK = re.compile(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What was left out, and what goes to standard error, which is not compared.
_OMITTED = re.compile(r"^(?:\[\.\.\.|mesh: ).*\n", re.MULTILINE)
_VARYING = (
    (re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b"), "ID"),
    (re.compile(r"\d+(\.\d+)? ms"), "N ms"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
)


@dataclass(frozen=True)
class Transcript:
    """A command as a page shows it, and what it prints: the parts between the lines that say what was left out."""

    command: str
    parts: tuple[str, ...]

    def differs_from(self, output: str) -> str | None:
        """The first part that the output does not have, after the one before it."""
        rest = plain(output)
        for part in self.parts:
            _, found, rest = rest.partition(plain(part)) if part else ("", True, rest)
            if not found:
                return part
        return None


def transcripts(page: Path) -> Iterator[Transcript]:
    for command, shown in _BLOCK.findall(page.read_text()):
        yield Transcript(command, tuple(_OMITTED.split(shown)))


def plain(text: str) -> str:
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


def standard_output(command: str) -> str:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env=environment({"LC_ALL": "C.UTF-8", "COLUMNS": "1000", "NO_COLOR": "1", "PATH": os.environ["PATH"]}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    ).stdout
