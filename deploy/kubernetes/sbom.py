"""What is in the images, as a bill of materials (SBOM) in CycloneDX's JSON, which scanners read.

It is asked of the images themselves, so it tells what a build put into them, on whatever base image.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deploy.steps import ROOT, DeployError, run
from grpc_tracing.commands.files import write_whole
from grpc_tracing.version import VERSION

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

INSTALL: Final = f"{sys.executable} -m pip install --require-hashes -r requirements/sbom.lock"

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
_LONGEST_NAME: Final = 60
"""Some packages put the whole text of their licence where its name belongs."""


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
    try:
        text = document({what: (name, packages(name)) for what, name in images.items()}, base)
    except ImportError as error:
        raise DeployError(f"--sbom needs cyclonedx-python-lib: {INSTALL}") from error
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
    try:
        import cyclonedx  # noqa: F401, PLC0415 not every deployment wants it
    except ImportError as error:
        raise DeployError(f"--sbom needs cyclonedx-python-lib: {INSTALL}") from error


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


def document(images: Mapping[str, tuple[str, list[Package]]], base: str) -> str:
    """CycloneDX 1.6, JSON. Each image is a container that depends on its packages and on the base image."""
    from cyclonedx.output import make_outputter  # noqa: PLC0415 as above
    from cyclonedx.schema import OutputFormat, SchemaVersion  # noqa: PLC0415

    made = make_outputter(_bill(images, base), OutputFormat.JSON, SchemaVersion.V1_6)
    return str(made.output_as_string(indent=2)) + "\n"


def _bill(images: Mapping[str, tuple[str, list[Package]]], base: str) -> Bom:
    from cyclonedx.model.bom import Bom  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    bill = Bom()
    suite = Component(type=ComponentType.APPLICATION, name="grpc-tracing", version=VERSION, bom_ref="suite")
    bill.metadata.component = suite
    name, _, digest = base.partition("@")
    below = Component(type=ComponentType.CONTAINER, name=name, version=digest or None, bom_ref=f"base {base}")
    found: dict[Package, Component] = {}
    containers = []
    for what, (image, its) in images.items():
        container = Component(type=ComponentType.CONTAINER, name=image, bom_ref=f"image {what}")
        containers.append(container)
        bill.register_dependency(container, [below, *(found.setdefault(one, _component(one)) for one in its)])
    bill.components.update([below, *containers, *found.values()])
    bill.register_dependency(suite, containers)
    return bill


def _component(package: Package) -> Component:
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    url = PackageURL(package.kind, package.vendor or None, package.name, package.version)
    named = 0 < len(package.licence) <= _LONGEST_NAME
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[LicenseFactory().make_from_string(package.licence)] if named else [],
    )
