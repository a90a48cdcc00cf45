"""Hostile bytes for everything that reads what others send: no fault, no call above 5 s of the processor, no growth.

FUZZ_SECONDS is how long each target is fuzzed in the long profile: 15 minutes if it is not set.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seeds
from tests.support.processes import ROOT

SECONDS = int(os.environ.get("FUZZ_SECONDS", "900"))
HANGS = 50
"""Seconds after which a call counts as one that never ends."""
LARGEST = 1024
"""MiB that the process may take, the fuzzer's own corpus and tables included."""
MOST_GROWTH = 256
"""MiB from the end of its first quarter on: the fuzzer keeps what finds new ways."""


def fuzz(target: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds().get(target, ())):
        (corpus / f"seed{number}").write_bytes(seed)
    limits = (f"-timeout={HANGS}", f"-rss_limit_mb={LARGEST}", "-max_len=65536", f"-artifact_prefix={folder}/")
    command = [sys.executable, "-m", "tests.fuzz", target, *limits, *options, str(corpus)]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace", check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_fuzzer_begins_with_is_taken(target: str) -> None:
    call = TARGETS[target]()
    for seed in (*seeds()[target], b"", b"\0", b"\xff" * 100):
        call(seed)


@pytest.mark.long
@pytest.mark.skipif(not find_spec("atheris"), reason="atheris has wheels for Linux on x86-64 alone")
@pytest.mark.timeout(SECONDS * 2 + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_make_a_fault_a_long_call_or_growth(target: str, tmp_path: Path) -> None:
    ended = fuzz(target, tmp_path, f"-max_total_time={SECONDS}")
    assert ended.returncode == 0, ended.stderr[-4000:]
    sizes = [int(size) for size in re.findall(r"rss: (\d+)Mb", ended.stderr)]
    assert sizes
    assert sizes[-1] - sizes[len(sizes) // 4] < MOST_GROWTH, sizes
