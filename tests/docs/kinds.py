"""The example hops of the guide, for tests: what this machine lacks skips them."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import pytest

from scripts import examples

P = ParamSpec("P")
T = TypeVar("T")


def _or_skip(step: Callable[P, T]) -> Callable[P, T]:
    @wraps(step)
    def taken(*given: P.args, **named: P.kwargs) -> T:
        try:
            return step(*given, **named)
        except examples.MissingError as missing:
            pytest.skip(str(missing))

    return taken


need = _or_skip(examples.need)
download = _or_skip(examples.download)
node_program = _or_skip(examples.node_program)
java_program = _or_skip(examples.java_program)
KINDS = {kind: _or_skip(make) for kind, make in examples.KINDS.items()}
