"""docs/cli.md from the parsers: python -m scripts.reference writes it anew."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from deploy import EXAMPLES
from scripts import parsers
from scripts.venv import LOCKS

PAGE = LOCKS.parent / "docs" / "cli.md"

_HEAD = """\
# Command lines

Made from the parsers by `.venv/bin/python -m scripts.reference`. `--help` behind any of them says the same.
Exit codes: [ci.md](ci.md).

`.venv/bin/python -m scripts.completion SHELL` prints completions of `grpc-tracing`, `client` and `mesh` for bash, zsh
or fish: make `client` an alias of `.venv/bin/python -m client`, `mesh` one of `.venv/bin/python -m mesh`. In bash:

```sh
. <(.venv/bin/python -m scripts.completion bash)
```

Variables that the scripts read: `PYTHON`, the Python to make the environment with; `ENVOY`, an Envoy of your own;
`GRPC_TRACING_HOME`, the folder for the environment and the mesh's files, in place of `.venv` and `/tmp`.
"""


def page() -> str:
    sections = [_HEAD]
    for name, parser in (parsers.scripts() | parsers.commands()).items():
        sections += [f"## `{name}`\n", *_described(name, parser)]
    return "\n".join(sections)


def _described(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    if parser.description:
        yield f"{_plain(parser.description)}\n"
    yield from _examples(name)
    if rows := list(_rows(parser)):
        yield "\n".join(["| | |", "| --- | --- |", *rows, ""])
    for command, its in _commands(parser).items():
        if name.startswith("./") and command not in ("up", "down"):
            continue  # apply.sh takes no others
        yield f"### `{name} {command}`\n"
        yield from _described(f"{name} {command}", its)


def _examples(name: str) -> Iterator[str]:
    script, _, place = name.partition(" ")
    action = script.removeprefix("./").removesuffix(".sh")
    if found := EXAMPLES.get(action, {}).get(place):
        yield "\n".join(["```sh", *found, "```", ""])


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.dest != "help" and not isinstance(action, argparse._SubParsersAction):
            yield f"| `{_spelled(action)}` | {_plain(_help(action))} |"


def _spelled(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or action.dest
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    takes_one = action.nargs != 0 and action.option_strings
    return (f"{names} {value}" if takes_one else names if action.option_strings else str(value)).replace("|", "\\|")


def _help(action: argparse.Action) -> str:
    return ((action.help or "") % {"default": action.default}).replace("|", "\\|")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page())
