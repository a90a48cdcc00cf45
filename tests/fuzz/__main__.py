"""``python -m tests.fuzz TARGET [libFuzzer options] [corpus folder]``: one target under atheris, guided by coverage.

A process of its own: libFuzzer ends it, by a fault, by a call that lasts too long, or when its time is up.
"""

import sys

import atheris


def main(arguments: list[str]) -> None:
    with atheris.instrument_imports(include=["grpc_tracing", "client"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([arguments[0], *arguments[2:]], TARGETS[arguments[1]]())
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
