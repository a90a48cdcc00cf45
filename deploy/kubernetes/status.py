"""What runs of the chain: pods, sidecars, images, who traces, and the last verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.kubernetes import tracing
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.kubernetes.rollout import has_sidecar, is_ready, pods_of
from deploy.steps import DeployError

VERDICT = "grpc-tracing/last-verdict"
"""The annotation of svc1's Deployment that test.sh leaves: the word, and when."""

_HEAD = ("workload", "ready", "sidecar", "image", "provider", "sampling", "last verdict")


def table(data: Kubectl, deployments: Sequence[Object], seen: tracing.Seen) -> str:
    """A line for each workload."""
    traced = {row.workload: row.tracing for row in tracing.rows(deployments, seen)}
    cells = [_HEAD]
    for one in deployments:
        found = traced.get(one["metadata"]["name"])
        how = (tracing.provider(found), tracing.sampled(found)) if found else ("-", "-")
        cells.append((*_runs(data, one), *how, _verdict(one)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return "".join(f"  {_line(line, widths)}\n" for line in cells)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _runs(data: Kubectl, deployment: Object) -> tuple[str, str, str, str]:
    """Name, pods that are ready of those wanted, pods with a sidecar, and the image as it is wanted."""
    spec, name = deployment["spec"], deployment["metadata"]["name"]
    image = spec["template"]["spec"]["containers"][0].get("image", "-")
    pods = _pods(data, deployment)
    if pods is None:
        return name, "not to be seen", "not to be seen", image
    return name, f"{sum(map(is_ready, pods))}/{spec.get('replicas', 1)}", f"{sum(map(has_sidecar, pods))}", image


def _pods(data: Kubectl, deployment: Object) -> list[Object] | None:
    """Without those on their way out; None where they may not be listed."""
    try:
        found = pods_of(data, deployment)
    except DeployError:
        return None
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def _verdict(deployment: Object) -> str:
    return str(deployment["metadata"].get("annotations", {}).get(VERDICT, "-"))
