"""Every component on a real cluster, by itself and together: applied, called, and pruned by the next set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes.manifests import DATA_RESOURCES, MESH_RESOURCES, OURS
from tests.cluster.real import NAMESPACE, Cluster
from tests.deploy.kubernetes.rendering import render_with

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SETS = [
    ("gateway-api",),
    ("lanes",),
    ("faults",),
    ("older-api",),
    ("retries",),
    ("network-policies",),
    ("traces", "lanes"),
    ("retries", "audit"),
    (),
]
"""One after the other on the same namespace, so that each set prunes what the one before has left."""
WITH_STORE = [one for one in SETS if "traces" in one]


@pytest.fixture(scope="module")
def alone(cluster: Cluster) -> Iterator[Cluster]:
    cluster.run("apply", "k8s", "down")
    yield cluster
    assert cluster.run("apply", "k8s", "down").returncode == 0
    assert cluster.try_kubectl("get", "namespace", NAMESPACE).returncode != 0


def _with(components: tuple[str, ...]) -> list[str]:
    return [word for one in components for word in ("--with", one)]


def _there(cluster: Cluster) -> set[tuple[str, str]]:
    """Kind and name of what carries our label and was not made by a controller."""
    kinds = ",".join(f"{name}.{group}".rstrip(".") for (_, group), name in (DATA_RESOURCES | MESH_RESOURCES).items())
    text = cluster.kubectl("get", kinds, "--namespace", NAMESPACE, "--selector", OURS, "--output", "json")
    found: list[dict[str, Any]] = json.loads(text)["items"]
    return {(one["kind"], one["metadata"]["name"]) for one in found if not one["metadata"].get("ownerReferences")}


def _rendered(components: tuple[str, ...], scratch: Path) -> set[tuple[str, str]]:
    found = render_with(components, scratch)
    return {(one["kind"], one["metadata"]["name"]) for one in found if one["kind"] != "Namespace"}


@pytest.mark.parametrize("components", SETS, ids="+".join)
def test_a_set_is_applied_and_is_all_that_is_there(alone: Cluster, components: tuple[str, ...], tmp_path: Path) -> None:
    done = alone.up(*_with(components))
    assert done.returncode == 0, done.stderr
    assert _there(alone) == _rendered(components, tmp_path)
    if components == ("faults",):
        _calls_are_late_and_fail(alone)
        return
    found = alone.verdict()
    assert found["verdict"] == ("unproven" if components in WITH_STORE and _no_provider(alone) else "connected"), found
    if "lanes" in components:
        _lanes_part(alone)


def _no_provider(cluster: Cluster) -> bool:
    """The mesh has not added ours, so its sidecars send nothing to the store."""
    text = cluster.kubectl("get", "configmap", "istio", "--namespace", "istio-system", "--output", "yaml")
    return "name: grpc-tracing" not in text


def _calls_are_late_and_fail(cluster: Cluster) -> None:
    """Half of the calls to svc3 wait for 300 ms; a fifth fails, of which the ingress's two retries mend nearly all."""
    calls = cluster.verdict("--rpc", "Talk", "--repeat", "40")["calls"]
    assert 5 < len([one for one in calls if one["duration_ms"] > 300]) < 40, calls
    assert {(one["status"], one["verdict"]) for one in calls} <= {("OK", "connected"), ("UNAVAILABLE", "failed")}


def _lanes_part(cluster: Cluster) -> None:
    for header, version in (("canary", "canary"), ("other", "v1")):
        hops = cluster.verdict("--rpc", "Talk", "-H", f"x-lane: {header}")["calls"][0]["hops"]
        assert [one["version"] for one in hops] == ["v1", "v1", version]
