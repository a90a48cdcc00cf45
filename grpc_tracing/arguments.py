"""A command line's parser that knows the near word where one is not known."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

Value = TypeVar("Value")


class Parser(argparse.ArgumentParser):
    """Options are written out; a wrong word is answered with the one that comes near it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False} | more)
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = [str(one) for one in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {self.explained(message)}\n")  # in one line, without the usage

    def explained(self, message: str) -> str:
        """The message, with a near word for the one that it is about."""
        names = (word.partition("=")[0] for word in self._given if word.startswith("--"))
        if unknown := next((name for name in names if name not in set(options(self))), None):
            return f"unrecognized arguments: {unknown}{near(unknown, options(self))}"
        if found := re.search(r"invalid choice: '(.*?)' .*choose from (.*?)\)", message):
            return message + near(found[1], [word.strip("' ") for word in found[2].split(",")])
        return message


def checked(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """A `type` of an option, of what reads its text: argparse shows no ValueError's words, and those of its own."""

    def reading(text: str) -> Value:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reading


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A parser's, and those of its commands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options(command)


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where no known word comes near."""
    found = get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""
