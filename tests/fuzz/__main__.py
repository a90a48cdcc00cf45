"""``python -m tests.fuzz TARGET [libFuzzer options] [corpus folder]``: one target under atheris, guided by coverage.

A process of its own: libFuzzer ends it, by a fault, by a call that lasts too long, or when its time is up.
"""

import sys
import time
from collections.abc import Callable

import atheris

LONGEST = 5.0
"""Seconds of the processor that one call may take: on a busy machine a short one may wait for its turn as long."""


class TooLongError(Exception):
    """A body that keeps the processor."""


def bounded(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The target, which raises TooLongError after a call that took too long."""

    def take(body: bytes) -> None:
        began = time.thread_time()
        target(body)
        took = time.thread_time() - began
        if took > LONGEST:
            raise TooLongError(f"{took:.1f} s")

    return take


def main(arguments: list[str]) -> None:
    with atheris.instrument_imports(include=["grpc_tracing", "client"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([arguments[0], *arguments[2:]], bounded(TARGETS[arguments[1]]()))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
