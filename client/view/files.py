"""Files that a run leaves."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes the file whole or not at all. Raises OSError."""
    beside = path.with_name(f".{os.getpid()}.new")  # short: the name of `path` may be as long as names can be
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
