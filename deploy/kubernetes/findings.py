"""What a check found, and what it looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploy.kubernetes import manifests
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl, Object


@dataclass(frozen=True)
class Finding:
    """failed: nothing is deployed. warning: it works, with what the text says."""

    kind: Literal["ok", "warning", "failed"]
    text: str


@dataclass(frozen=True)
class Target:
    """Where the objects go, and which they are. The two servers may be one."""

    place: str
    data: Kubectl
    mesh: Kubectl
    objects: Sequence[Object]
    gateway: Gateway

    def servers(self) -> list[tuple[Kubectl, list[Object]]]:
        """Each server once, with its objects."""
        of_mesh = [found for found in self.objects if manifests.is_the_mesh_s(found)]
        if self.data.same_server(self.mesh):
            return [(self.data, list(self.objects))]
        return [
            (self.data, [found for found in self.objects if not manifests.is_the_mesh_s(found)]),
            (self.mesh, [found for found in self.objects if manifests.is_namespace(found)] + of_mesh),
        ]
