"""The version stands in one place, and whoever shows it shows that one."""

import re
import subprocess
import sys

import pytest

from grpc_tracing.version import VERSION
from tests.support.processes import ROOT


@pytest.mark.parametrize("module", ["grpc_tracing", "client", "mesh"])
def test_a_command_line_tells_it(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()[-1:], done.stderr) == (0, [VERSION], "")


def test_the_images_label_is_the_same() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE) == [VERSION]
    assert "org.opencontainers.image.version=${VERSION}" in dockerfile
