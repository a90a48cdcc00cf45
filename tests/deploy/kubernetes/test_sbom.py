"""The bill of materials of the images: what a scanner of vulnerabilities or licences reads."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.kubernetes import bill, sbom
from deploy.kubernetes.sbom import Package
from deploy.steps import DeployError
from tests.deploy.engine import Images, plain
from tests.support.processes import ROOT

BASE = "python:3.13-slim@sha256:7c61"
GRPC, DEBIAN = Package("pypi", "grpcio", "1.85.1", "Apache-2.0"), Package("deb", "libc6", "2.41-12", vendor="debian")
OWN_TERMS = Package("pypi", "own", "1", "Do as you like, " * 10)


def valid(text: str) -> dict[str, Any]:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    return document


def by_ref(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["bom-ref"]: one for one in document["components"]}


def test_an_image_depends_on_its_packages_and_its_base() -> None:
    found = valid(bill.document({"service": ("talk:1", [DEBIAN, GRPC]), "mesh": ("mesh:1", [GRPC, OWN_TERMS])}, BASE))
    depends = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
    below = f"base {BASE}"
    assert set(depends["suite"]) == {"image service", "image mesh"}
    assert set(depends["image service"]) == {below, "pkg:deb/debian/libc6@2.41-12", "pkg:pypi/grpcio@1.85.1"}
    assert set(depends["image mesh"]) == {below, "pkg:pypi/grpcio@1.85.1", "pkg:pypi/own@1"}
    assert by_ref(found)[below]["version"] == "sha256:7c61"


def test_a_licence_is_told_where_the_package_names_one() -> None:
    components = by_ref(valid(bill.document({"service": ("talk:1", [DEBIAN, GRPC, OWN_TERMS])}, BASE)))
    assert components["pkg:pypi/grpcio@1.85.1"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert "licenses" not in components["pkg:deb/debian/libc6@2.41-12"]
    assert "licenses" not in components["pkg:pypi/own@1"]


def test_the_base_is_the_dockerfiles_or_the_one_that_is_named() -> None:
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", sbom.base_image({}))
    assert sbom.base_image({"BASE_IMAGE": "mine:1"}) == "mine:1"


@pytest.mark.parametrize(("name", "said"), [("", "it is a folder"), ("none/a.json", "there is no folder")])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_built(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        sbom.check(tmp_path / name)


def test_without_the_library_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "deploy.kubernetes.bill")
    for name in [name for name in sys.modules if name.partition(".")[0] == "cyclonedx"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeployError, match=r"pip install --require-hashes -r requirements/sbom\.lock$"):
        sbom.check(tmp_path / "a.json")


@pytest.mark.docker
@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_images_tell_what_the_lock_files_put_into_them(built: Images, tmp_path: Path) -> None:
    sbom.write(tmp_path / "sbom.json", {"service": built.service, "mesh": built.mesh}, built.base)
    found = valid((tmp_path / "sbom.json").read_text())
    depends = {one["ref"]: set(one.get("dependsOn", [])) for one in found["dependencies"]}
    for image, locks in (("image service", ("service",)), ("image mesh", ("local", "envoy"))):
        python = {ref.removeprefix("pkg:pypi/") for ref in depends[image] if ref.startswith("pkg:pypi/")}
        assert python
        text = "\n".join((ROOT / "requirements" / f"{lock}.lock").read_text() for lock in locks)
        locked = {(plain(name), version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}
        assert {(plain(name), version) for name, _, version in (ref.partition("@") for ref in python)} <= locked
        assert any(ref.startswith("pkg:deb/debian/libc6@") for ref in depends[image])
