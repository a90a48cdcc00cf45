"""A bill of materials in CycloneDX's JSON. Needs requirements/sbom.lock, which nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from deploy.kubernetes.sbom import Package
from grpc_tracing.version import VERSION

_LONGEST_NAME: Final = 60
"""Some packages put the whole text of their licence where its name belongs."""


def document(images: Mapping[str, tuple[str, list[Package]]], base: str) -> str:
    """CycloneDX 1.6, JSON. Each image is a container that depends on its packages and on the base image."""
    made = make_outputter(_bill(images, base), OutputFormat.JSON, SchemaVersion.V1_6)
    return str(made.output_as_string(indent=2)) + "\n"


def _bill(images: Mapping[str, tuple[str, list[Package]]], base: str) -> Bom:
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
