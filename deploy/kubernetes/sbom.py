"""What is in the images, as a bill of materials (SBOM) in CycloneDX's JSON, which scanners read.

It is asked of the images themselves, so it tells what a build put into them, on whatever base image.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from deploy.steps import ROOT, DeployError, run
from grpc_tracing.commands.files import write_whole

_INSTALL: Final = "pip install --require-hashes -r requirements/sbom.lock"
_ASK: Final = """
import importlib.metadata, json, pathlib
python = [
    [one.name, one.version, one.metadata["License-Expression"] or one.metadata["License"]]
    for one in importlib.metadata.distributions()
]
status, system = pathlib.Path("/var/lib/dpkg/status"), pathlib.Path("/etc/os-release")
print(json.dumps({
    "python": python,
    "dpkg": status.read_text(errors="replace") if status.exists() else "",
    "system": system.read_text(errors="replace") if system.exists() else "",
}))
"""


class Package(NamedTuple):
    """kind: as in a package URL, ``pypi`` or ``deb``; licence: as the package tells it, "" where it does not."""

    kind: str
    name: str
    version: str
    licence: str = ""
    vendor: str = ""


def write(path: Path, images: Mapping[str, str], base: str) -> None:
    """The images by what they are, such as ``service``, with their names; `base`: the image that they begin with.

    DeployError where the library is not installed, an image does not answer, or the file cannot be written.
    """
    text = _library()({what: (name, packages(name)) for what, name in images.items()}, base)
    try:
        write_whole(path, text)
    except OSError as error:
        raise DeployError(f"--sbom {path}: {error.strerror or error}: name a file elsewhere") from error


def check(path: Path) -> None:
    """Says before anything is built what would keep the file from being written, as far as that shows."""
    if path.is_dir():
        raise DeployError(f"--sbom {path}: it is a folder: name a file")
    if not path.parent.is_dir():
        raise DeployError(f"--sbom {path}: there is no folder {path.parent}: make it, or name a file elsewhere")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DeployError(f"--sbom {path}: it may not be written: name a file elsewhere")
    _library()


def _library() -> Callable[[Mapping[str, tuple[str, list[Package]]], str], str]:
    """What writes the document, by a library that not every deployment wants."""
    try:
        from deploy.kubernetes.bill import document  # noqa: PLC0415
    except ImportError as error:
        raise DeployError(f"--sbom needs cyclonedx-python-lib; in the checkout: {_installer()} {_INSTALL}") from error
    return document


def _installer() -> str:
    """An environment that uv made has no pip."""
    return f"{shlex.quote(sys.executable)} -m" if find_spec("pip") else f"VIRTUAL_ENV={shlex.quote(sys.prefix)} uv"


def base_image(environment: Mapping[str, str]) -> str:
    """What BASE_IMAGE names, else the Dockerfile's own, with its digest."""
    own = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert own, "the Dockerfile names its base image"  # noqa: S101
    return environment.get("BASE_IMAGE") or own[1]


def packages(image: str) -> list[Package]:
    """All of Python's and Debian's in an image that Docker has, by name."""
    done = run(["docker", "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", _ASK])
    if done.returncode != 0:
        raise DeployError(f"--sbom: {image} does not tell what is in it:\n{done.stderr.strip()}")
    return sorted(_read(json.loads(done.stdout)))


def _read(told: Mapping[str, Any]) -> Iterator[Package]:
    for name, version, licence in told["python"]:
        yield Package("pypi", name, version, licence or "")
    vendor = re.search(r'^ID="?(\w+)', told["system"], re.MULTILINE)
    for entry in told["dpkg"].split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield Package("deb", fields["Package"], fields["Version"], vendor=vendor[1] if vendor else "debian")
