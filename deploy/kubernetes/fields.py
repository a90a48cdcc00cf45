"""Who has set which field of an object: read from its managedFields, as server-side apply keeps them.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.kubectl import Object

MANAGER = "grpc-tracing"
"""Ours."""

REPLICAS = "spec.replicas"
_TEMPLATE = "spec.template."
_OF_NO_MATTER = ("annotations.kubectl.kubernetes.io/restartedAt",)
"""`kubectl rollout restart` leaves a time behind."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A field that somebody else has set and we have not."""

    field: str
    manager: str


def owners(found: Object) -> dict[str, set[str]]:
    """The managers of each field, by its path: `spec.template.spec.containers.talk.env.TALK_PROPAGATE.value`."""
    every: dict[str, set[str]] = {}
    for entry in found["metadata"].get("managedFields") or []:
        for path in _paths(entry.get("fieldsV1") or {}):
            every.setdefault(path, set()).add(entry["manager"])
    return every


def _paths(fields: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The leaves. `.` stands for a list's item itself."""
    below = {key: value for key, value in fields.items() if key != "."}
    if not below and above:
        yield above
    for key, value in below.items():
        yield from _paths(value, f"{above}.{_name(key)}".lstrip("."))


def _name(key: str) -> str:
    """`f:env`, or `k:{"name":"talk"}`, or `v:"…"`."""
    kind, _, text = key.partition(":")
    if kind == "f":
        return text
    value = json.loads(text)
    return ",".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def owned_by_others(found: Object, field: str) -> bool:
    """Whether somebody else has set it, alone or beside us."""
    return bool(owners(found).get(field, set()) - {MANAGER})


def foreign(found: Object) -> list[Foreign]:
    """What others alone have set in a pod's template, each item of a list once."""
    seen = {
        Foreign(_item(path), min(managers))
        for path, managers in owners(found).items()
        if path.startswith(_TEMPLATE) and MANAGER not in managers and not path.endswith(_OF_NO_MATTER)
    }
    return sorted(seen, key=lambda one: one.field)


def _item(path: str) -> str:
    """A variable as a whole, without the fields of its entry."""
    match = re.match(r"(.*\.env\.[\w.-]+?)(?:\.name|\.value|\.valueFrom.*)?$", path)
    return match[1] if match else path


def without_replicas(objects: Iterable[Object], there: Mapping[str, Object]) -> list[Object]:
    """Deployments whose number of replicas somebody else has set, a person or an autoscaler, without our own number.

    there: what the server has, by name.
    """
    return [_unscaled(one) if _is_scaled(one, there) else one for one in objects]


def _is_scaled(wanted: Object, there: Mapping[str, Object]) -> bool:
    stands = there.get(wanted["metadata"]["name"]) if wanted["kind"] == "Deployment" else None
    return stands is not None and owned_by_others(stands, REPLICAS)


def _unscaled(wanted: Object) -> Object:
    return wanted | {"spec": {key: value for key, value in wanted["spec"].items() if key != "replicas"}}
