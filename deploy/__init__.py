"""Putting the chain somewhere, and proving it there.

A place is a module with `apply(place, arguments)` and `test(place, arguments)`, each returning an exit code.
"""

import importlib
import sys

PLACES = {
    "local": "deploy.local.place",
    "compose": "deploy.compose.place",
    "k8s": "deploy.kubernetes.place",
    "asm": "deploy.kubernetes.place",
}
ACTIONS = ("apply", "test")


def main(arguments: list[str]) -> int:
    """Dispatch to a place, `local` where none is named. Exit code 2 for one that does not exist."""
    action, *rest = arguments or [""]
    place = rest.pop(0) if rest and not _is_for_the_place(rest[0]) else "local"
    if action not in ACTIONS or place not in PLACES:
        sys.stderr.write(f"{action} {place}: write {' or '.join(ACTIONS)}, then one of {', '.join(PLACES)}\n")
        return 2
    module = importlib.import_module(PLACES[place])
    code: int = getattr(module, action)(place, rest)
    return code


def _is_for_the_place(argument: str) -> bool:
    return argument.startswith("-") or argument in ("up", "down")
