"""docs/asm.md: what it shows is what happens."""

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.kubernetes import cluster
from tests.deploy.kubernetes.references import problems
from tests.deploy.kubernetes.rendering import K8S, ROOT, render

ASM = ROOT / "docs" / "asm.md"

OVERLAYS = re.compile(r"```yaml\n# ([\w-]+)/kustomization\.yaml.*?\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_overlays_that_the_guide_shows_render_and_name_each_other_rightly(number: int, tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    name, text = OVERLAYS.findall(ASM.read_text())[number]
    folder = tmp_path / name
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    objects = render(folder)
    assert problems(objects) == []
    if name == "asm-lanes":  # else ASM's objects and ours would fight over the same hosts
        kinds = [(one["kind"], one["metadata"]["name"]) for one in objects if one["kind"] in ROUTING]
        assert kinds == [("VirtualService", "grpc-tracing-ingress")]
        assert "grpc-server-svc3-canary" in [one["metadata"]["name"] for one in objects]
    else:
        accounts = [one for one in objects if one["kind"] == "ServiceAccount"]
        assert all(one["imagePullSecrets"] == [{"name": "my-registry"}] for one in accounts)


ROUTING = ("VirtualService", "DestinationRule")


def test_the_guide_shows_what_apply_says_on_asm(tmp_path: Path) -> None:
    clusters = cluster.make(tmp_path)
    done = clusters.run("apply", "asm", *cluster.IMAGE, **cluster.make_asm(clusters))
    (shown,) = re.findall(r"```\n(asm: .*?)```", ASM.read_text(), re.DOTALL)
    assert done.stderr == shown
