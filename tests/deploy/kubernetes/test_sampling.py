"""Who traces, with which provider, how much: held against what a real istiod pushed, and Istio's own words."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.kubernetes.sampling import Mesh, Workload, tracing
from tests.deploy.kubernetes.rendering import Object
from tests.deploy.kubernetes.scenes import (
    DEFAULT,
    GATEWAY,
    PROVIDERS,
    SCENES,
    SVC2,
    Scene,
    a_telemetry,
    aged,
    by,
    mesh_of,
    pushed,
    real_scenes,
    sampled,
)
from tests.support.missing import missing


def test_the_real_istiod_s_pushes_are_there() -> None:
    if not real_scenes():
        missing("no sampling.json: TALK_ISTIO_SAMPLING names a file with what a real istiod pushed")
    assert len(real_scenes()) == 27


@pytest.mark.parametrize("scene", real_scenes(), ids=lambda scene: scene["scene"])
def test_it_says_what_a_real_istiod_pushed(scene: dict[str, Any]) -> None:
    telemetries, mesh = [aged(one) for one in scene["telemetries"]], mesh_of(scene)
    found = {
        "gateway": tracing(GATEWAY, "out", telemetries, mesh),
        "svc2_in": tracing(SVC2, "in", telemetries, mesh),
        "svc2_out": tracing(SVC2, "out", telemetries, mesh),
    }
    said = {where: pushed(one) for where, one in found.items()}
    expected = {where: scene[where] for where in found}
    # Where the percentage was not read, the truth leaves it out.
    assert {
        key: value if expected[key] != "no provider" else (value or "").rpartition(" ")[0]
        for key, value in said.items()
    } == expected


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_it_follows_istio_s_own_words(scene: Scene) -> None:
    chosen = scene.workload
    workload = Workload(chosen.namespace, chosen.labels, chosen.kind, scene.proxy_config)
    mesh = Mesh({"extensionProviders": PROVIDERS} | scene.mesh, scene.pilot)
    found = {one: pushed(tracing(workload, one, scene.telemetries, mesh)) for one in workload.directions}
    assert found == scene.expected, scene.because


def test_each_scene_names_what_it_rests_on() -> None:
    assert len({scene.name for scene in SCENES}) == len(SCENES) >= 20
    assert all(scene.because for scene in SCENES)


NO_CONFIG = Mesh(None)


@pytest.mark.parametrize(
    ("telemetries", "expected"),
    [
        ((), ("unknown", None, None)),
        ((a_telemetry("a", sampled(100, providers=by("arms"))),), ("unknown", "arms", 100.0)),
        ((a_telemetry("a", {"disableSpanReporting": True}),), ("off", None, None)),
    ],
)
def test_without_the_mesh_s_configuration_only_what_is_sure_is_said(
    telemetries: tuple[Object, ...], expected: Any
) -> None:
    found = tracing(GATEWAY, "out", telemetries, NO_CONFIG)
    assert (found.state, found.provider, found.percentage) == expected


OFF: Object = {"disableSpanReporting": True}
REASONS = [
    ((a_telemetry("a", sampled(100)),), {}, "Telemetry istio-system/a names no provider, and the mesh has no default"),
    (
        (a_telemetry("a", {"providers": by("no")}),),
        {},
        "the mesh defines no provider no, which Telemetry istio-system/a names",
    ),
    (
        (a_telemetry("a", {"disableSpanReporting": True}),),
        DEFAULT,
        "Telemetry istio-system/a sets disableSpanReporting",
    ),
    ((), {}, "no provider: none is named, and the mesh has no default"),
    ((), {"enableTracing": False}, "no Telemetry, no default provider, and enableTracing is false"),
]


@pytest.mark.parametrize(("telemetries", "mesh", "why"), REASONS)
def test_it_names_what_turns_tracing_off(telemetries: tuple[Object, ...], mesh: dict[str, Any], why: str) -> None:
    found = tracing(GATEWAY, "out", telemetries, Mesh({"extensionProviders": PROVIDERS} | mesh))
    assert found.why == why
    assert not found.makes_spans
