"""Files that a command leaves."""

from __future__ import annotations

import secrets
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes the file whole or not at all; a symlink in its place is replaced, not followed. Raises OSError.

    It grows beside its goal under a name that nobody can guess, and so lay a link there, and that is short: the goal's
    may be as long as names can be.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
