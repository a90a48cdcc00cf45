"""A caller that dies in the midst of a stream."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import ROOT, environment

_STREAMING = """
import sys
from tests.support.stub import ask, connect
with connect(sys.argv[1]) as stub:
    call = stub.talk_bidirectional(iter(lambda: ask("0"), None))
    next(call)
    print("streaming", flush=True)
    for _ in call:
        pass
"""


@contextmanager
def streaming_caller(target: str) -> Iterator[None]:
    """A process with a bidirectional stream under way; SIGKILL ends it with the block."""
    command = [sys.executable, "-c", _STREAMING, target]
    with subprocess.Popen(command, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE) as caller:
        try:
            assert caller.stdout is not None
            assert caller.stdout.readline() == b"streaming\n"
            yield
        finally:
            caller.kill()
