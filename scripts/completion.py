"""Completions for a shell, made from the parsers: python -m scripts.completion bash|zsh|fish"""

from __future__ import annotations

import sys

import shtab

from scripts import parsers

SHELLS = ("bash", "zsh", "fish")


def main(arguments: list[str]) -> int:
    """Prints them. Exit code 2 for a shell that is none of ours."""
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        sys.stderr.write(f"name one shell of {', '.join(SHELLS)}\n")
        return 2
    for parser in parsers.commands().values():
        sys.stdout.write(shtab.complete(parser, arguments[0]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
