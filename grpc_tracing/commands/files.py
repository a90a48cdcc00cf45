"""Files that a command leaves."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def writable(text: str) -> Path:
    """A file that can be put in the place of `text`: nothing or a file is there, in a folder that takes another.

    Told before the work whose result it is to hold. ValueError says what to name in its place.
    """
    path = Path(text)
    if not _takes_file(path):
        raise ValueError(f"{text}: cannot be written, name a file in a folder that is there and yours")
    return path


def _takes_file(path: Path) -> bool:
    try:
        in_reach = os.access(path.parent, os.W_OK | os.X_OK) and path.parent.is_dir()
        return in_reach and (path.is_file() or not path.exists())
    except OSError:  # a name too long, for example
        return False


def write_whole(path: Path, text: str) -> None:
    """Writes the text as `whole` does. Raises OSError."""
    with whole(path) as file:
        file.write(text)


@contextmanager
def whole(path: Path) -> Iterator[IO[str]]:
    """A text file that is there once the block ends well, or not at all. Raises OSError."""
    with beside(path) as new, new.open("x", encoding="utf-8") as file:
        yield file


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path` once the block ends well.

    A symlink there is replaced, not followed.
    It grows beside its goal under a name that nobody can guess, and so lay a link there, and that is short: the goal's
    may be as long as names can be. Raises OSError.
    """
    new = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
