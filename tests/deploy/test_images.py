"""Images that others publish are named with their digest: a tag may be moved, and then two builds differ."""

import re

import pytest
import yaml

from tests.support.processes import ROOT

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
OURS = re.compile(r"\$\{(TALK|MESH)_IMAGE:-")


def _named() -> dict[str, str]:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    images = {f"compose.yaml, {name}": service["image"] for name, service in compose["services"].items()}
    defaults = re.findall(r"^ARG (\w+_IMAGE)=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return images | {f"Dockerfile, {name}": image for name, image in defaults}


def _published() -> dict[str, str]:
    return {place: image for place, image in _named().items() if not OURS.match(image)}


def test_there_are_two_of_them() -> None:
    assert sorted(_published()) == ["Dockerfile, BASE_IMAGE", "compose.yaml, jaeger"]


@pytest.mark.parametrize("place", _published())
def test_it_has_its_digest(place: str) -> None:
    assert DIGEST.search(_published()[place])


def test_each_stage_begins_with_an_image_that_is_named_once() -> None:
    begins = re.findall(r"^FROM (\S+) AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    stages = {name for _, name in begins}
    assert {image for image, _ in begins} - stages == {"${BASE_IMAGE}"}


def test_compose_takes_the_dockerfiles_image_where_the_environment_names_none() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    assert [service["build"]["args"] for service in services if "build" in service] == [["BASE_IMAGE"]] * 2
