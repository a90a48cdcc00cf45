"""The sampling rule held against what the real istiod pushes to gateway, sidecar and waypoint. Minutes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from deploy.kubernetes.sampling import Workload
from tests.cluster.real import GATEWAY_POD, MESH_NAMESPACE, NAMESPACE, Cluster
from tests.deploy.kubernetes.rendering import Object
from tests.deploy.kubernetes.scenes import (
    API_GATEWAY,
    GATEWAY,
    PROVIDERS,
    SCENES,
    SVC2,
    WAYPOINT,
    Scene,
    real_scenes,
)
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PODS = {
    id(GATEWAY): GATEWAY_POD,
    id(SVC2): (NAMESPACE, "deploy/grpc-server-svc2"),
    id(API_GATEWAY): (NAMESPACE, "deploy/grpc-tracing-istio"),
    id(WAYPOINT): (NAMESPACE, "deploy/waypoint"),
}
A_WAYPOINT: Object = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "waypoint", "namespace": NAMESPACE, "labels": {"istio.io/waypoint-for": "service"}},
    "spec": {
        "gatewayClassName": "istio-waypoint",
        "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
    },
}

_ASKED_AGAIN_AFTER = 4.0
"""Seconds."""
_AS_DEPLOYED: Object = {"default": {}, "annotation": {}}


class Stage:
    """The cluster, and what the last scene left in its mesh's configuration."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.config = yaml.safe_load(self._map()["data"]["mesh"])
        self.started_with: dict[tuple[str, str], Object] = {}
        self.pilot = 1.0
        self._pushes = itertools.count()

    def _map(self) -> Object:
        text = self.cluster.kubectl("get", "configmap", "istio", "--namespace", MESH_NAMESPACE, "--output", "yaml")
        found: Object = yaml.safe_load(text)
        return found

    def configure(self, config: Mapping[str, Any]) -> str:
        """The format of the access log from here on: a listener that has it was made from this, and from all before."""
        mark = f"push {next(self._pushes)}\n"
        log = {"accessLogFile": "/dev/null", "accessLogFormat": mark}
        self._patch(dict(config) | log)
        return mark

    def give_back(self) -> None:
        self._patch(self.config)

    def _patch(self, config: Object) -> None:
        patch = yaml.safe_dump({"data": {"mesh": yaml.safe_dump(config)}})
        where = ("configmap", "istio", "--namespace", MESH_NAMESPACE)
        self.cluster.kubectl("patch", *where, "--type", "merge", "--patch", patch)

    def sample_by_pilot(self, percentage: float) -> None:
        if percentage == self.pilot:
            return
        self.pilot = percentage
        variable = f"PILOT_TRACE_SAMPLING={percentage:g}" if percentage != 1 else "PILOT_TRACE_SAMPLING-"
        self.cluster.kubectl("set", "env", "deploy/istiod", "--namespace", MESH_NAMESPACE, variable)
        self.cluster.kubectl("rollout", "status", "deploy/istiod", "--namespace", MESH_NAMESPACE, "--timeout=120s")
        # The old one pushes until it has gone.
        wait_for(lambda: len(self._istiods()) == 1, "one istiod alone")

    def _istiods(self) -> list[str]:
        its = ("--namespace", MESH_NAMESPACE, "--selector", "app=istiod", "--output", "name")
        return self.cluster.kubectl("get", "pods", *its).split()

    def start_proxies_with(self, default: Object, annotation: Object, pods: list[tuple[str, str]]) -> None:
        """defaultConfig and the annotation hold for proxies started since."""
        wanted = {"default": default, "annotation": annotation}
        late = [pod for pod in pods if self.started_with.get(pod, _AS_DEPLOYED) != wanted]
        if late:
            self._annotate(annotation)
        for where, workload in late:
            self.cluster.restart(where, workload)
            self.started_with[where, workload] = wanted

    def _annotate(self, annotation: Object) -> None:
        base = {"holdApplicationUntilProxyStarts": True, "terminationDrainDuration": "1s"}
        metadata = {"annotations": {"proxy.istio.io/config": yaml.safe_dump(base | annotation)}}
        patch = yaml.safe_dump({"spec": {"template": {"metadata": metadata}}})
        self.cluster.kubectl("patch", "deploy/grpc-server-svc2", "--namespace", NAMESPACE, "--patch", patch)

    def put(self, telemetries: list[tuple[int, Object]]) -> None:
        """By age, oldest first; those of one age in one breath."""
        for line in self.cluster.kubectl("get", "telemetries", "-A", "--no-headers").splitlines():
            where, name = line.split()[:2]
            self.cluster.kubectl("delete", "telemetry", name, "--namespace", where)
        before = ""
        for age in sorted({created for created, _ in telemetries}):
            self._wait_for_a_second_after(before)
            self.cluster.apply(*(one for created, one in telemetries if created == age))
            before = self._second()

    def _wait_for_a_second_after(self, before: str) -> None:
        """Telemetries are as old as the API server says, in whole seconds."""
        wait_for(lambda: self._second() > before, "the API server's next second")

    def _second(self) -> str:
        asked = ("configmap", "clock", "--dry-run=server", "--output", "jsonpath={.metadata.creationTimestamp}")
        return self.cluster.kubectl("create", *asked)

    def push(self, config: Mapping[str, Any], workloads: Sequence[Workload]) -> None:
        """Until all that is read of these proxies was made from this configuration and from all applied before.

        istiod may merge a push for the mesh's configuration with one for a pod, and then pushes for the pod alone.
        """
        mark, asked = self.configure(config), time.monotonic()

        def arrived() -> bool:
            nonlocal mark, asked
            if time.monotonic() > asked + _ASKED_AGAIN_AFTER:
                mark, asked = self.configure(config), time.monotonic()
            return all(self._has(mark, one) for one in workloads)

        wait_for(arrived, f"the push to {[PODS[id(one)] for one in workloads]}")

    def _has(self, mark: str, workload: Workload) -> bool:
        listeners = self.cluster.told(PODS[id(workload)])
        read = [_chosen(listeners, *LISTENERS[workload.kind, one]) for one in workload.directions]
        return all(managers and all(_format(one) == mark for one in managers) for managers in read)


def _format(manager: Object) -> str | None:
    """Of the first access log."""
    log: Object = next(iter(manager.get("access_log", [])), {})
    found: str | None = (
        log.get("typed_config", {}).get("log_format", {}).get("text_format_source", {}).get("inline_string")
    )
    return found


@pytest.fixture(scope="module")
def stage(mesh: Cluster) -> Iterator[Stage]:
    """Sidecars, a Gateway API's gateway and a waypoint, and the mesh as it was in the end."""
    mesh.run("apply", "k8s", "down")
    done = mesh.up("--with", "gateway-api", "--with", "traces")  # without its Service a provider is none
    assert done.returncode == 0, done.stderr
    mesh.apply(A_WAYPOINT, *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in OTHERS))
    mesh.kubectl("label", "namespace", NAMESPACE, "istio.io/use-waypoint=waypoint", "--overwrite")
    mesh.kubectl("apply", "--filename", "-", given=yaml.safe_dump(OLD_WAY_IN))
    found = Stage(mesh)
    yield found
    found.put([])
    found.sample_by_pilot(1.0)
    found.give_back()
    mesh.kubectl("label", "namespace", NAMESPACE, "istio.io/use-waypoint-")
    mesh.kubectl("delete", "gateways.gateway.networking.k8s.io/waypoint", "--namespace", NAMESPACE)
    mesh.kubectl("delete", "gateways.networking.istio.io/old-way-in", "--namespace", NAMESPACE)
    mesh.kubectl("delete", "namespace", *OTHERS)
    mesh.run("apply", "k8s", "down")  # svc2's annotation would be somebody else's to the next apply


OTHERS = ("mesh-root", "other")
OLD_WAY_IN: Object = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "old-way-in", "namespace": NAMESPACE},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [{"port": {"number": 9999, "name": "grpc", "protocol": "GRPC"}, "hosts": ["*"]}],
    },
}
"""A listener of the mesh's own gateway on our port."""


def _managers(found: Any) -> Iterator[Object]:
    """Each HTTP connection manager, wherever it stands."""
    if isinstance(found, dict):
        if found.get("@type", "").endswith("HttpConnectionManager"):
            yield found
        else:
            for one in found.values():
                yield from _managers(one)
    elif isinstance(found, list):
        for one in found:
            yield from _managers(one)


def _chosen(listeners: Sequence[Object], name: str, prefix: str) -> list[Object]:
    """The connection managers of a direction.

    name: a part of the listener's name; prefix: what the manager's stat prefix begins with.
    """
    active = [one["active_state"] for one in listeners if name in one["name"] and "active_state" in one]
    return [one for one in _managers(active) if one["stat_prefix"].startswith(prefix)]


def _tracing(manager: Object) -> str | None:
    tracing = manager.get("tracing")
    if tracing is None or (tracing.get("provider") is None and tracing.get("random_sampling") == {}):
        return None
    kind = tracing.get("provider", {}).get("name", "no provider").rpartition(".")[2]
    return f"{kind} {tracing.get('random_sampling', {}).get('value', 0):g}%"


LISTENERS = {
    ("gateway", "out"): ("_9999", "outbound_0.0.0.0_9999"),
    ("sidecar", "in"): ("virtualInbound", "inbound_0.0.0.0_9996"),
    ("sidecar", "out"): ("0.0.0.0_9996", "outbound_0.0.0.0_9996"),
    ("waypoint", "out"): ("main_internal", ""),
}


def _read(stage: Stage, workload: Workload, direction: str) -> str | None:
    """As sampling.json writes it; all connection managers of a direction say the same."""
    managers = _chosen(stage.cluster.told(PODS[id(workload)]), *LISTENERS[workload.kind, direction])
    (found,) = {_tracing(one) for one in managers}
    return found


def _created(telemetry: Object) -> int:
    stamp = telemetry["metadata"].get("creationTimestamp", "")
    return int(stamp[-3:-1]) if stamp else int(telemetry.get("created", 0))


def _plain(telemetry: Object) -> Object:
    kept = {key: value for key, value in telemetry["metadata"].items() if key != "creationTimestamp"}
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": kept, "spec": telemetry["spec"]}


def _costs(scene: Scene | Object) -> str:
    """Scenes for which the same has to be restarted stand beside each other."""
    if isinstance(scene, Scene):
        return f"{scene.pilot} {scene.proxy_config} {scene.mesh.get('defaultConfig', {})}"
    return f"{scene['defaultConfig']}"


def _play(stage: Stage, scene: Scene | Object, workloads: Sequence[Workload]) -> None:
    if isinstance(scene, Scene):
        telemetries, config, pilot = scene.telemetries, dict(scene.mesh), scene.pilot
        annotation = scene.proxy_config
    else:
        telemetries, pilot, annotation = scene["telemetries"], 1.0, {}
        config = {**scene["mesh"], "defaultConfig": scene["defaultConfig"]}
    base = {
        key: value
        for key, value in stage.config.items()
        if key in ("trustDomain", "rootNamespace", "enablePrometheusMerge")
    }
    discovery = {"discoveryAddress": f"istiod.{MESH_NAMESPACE}.svc:15012"}
    default = config.pop("defaultConfig", {})
    stage.sample_by_pilot(pilot)
    stage.put([(_created(one), _plain(one)) for one in telemetries])
    whole = {"extensionProviders": PROVIDERS} | base | config | {"defaultConfig": discovery | default}
    stage.push(whole, workloads)
    stage.start_proxies_with(default, annotation, [PODS[id(one)] for one in workloads])
    stage.push(whole, workloads)


_REAL: list[Object] = sorted(real_scenes(), key=_costs)
_OWN: list[Scene] = sorted(SCENES, key=_costs)


@pytest.mark.parametrize("scene", _REAL, ids=lambda scene: scene["scene"])
def test_sampling_json_is_what_istiod_pushes(stage: Stage, scene: Object) -> None:
    _play(stage, scene, [GATEWAY, SVC2])
    found = {
        "gateway": _read(stage, GATEWAY, "out"),
        "svc2_in": _read(stage, SVC2, "in"),
        "svc2_out": _read(stage, SVC2, "out"),
    }
    for where, said in found.items():
        assert (said or "").startswith(scene[where] or "nothing") or said == scene[where], (where, said, scene[where])


@pytest.mark.parametrize("scene", _OWN, ids=lambda scene: scene.name)
def test_our_own_scenes_are_what_istiod_pushes(stage: Stage, scene: Scene) -> None:
    if scene.workload is WAYPOINT and "istio-waypoint" not in stage.cluster.kubectl("get", "gatewayclasses"):
        pytest.skip("no waypoints: the istiod runs without PILOT_ENABLE_AMBIENT=true")
    _play(stage, scene, [scene.workload])
    found = {one: _read(stage, scene.workload, one) for one in scene.workload.directions}
    assert found == scene.expected
