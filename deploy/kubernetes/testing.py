"""Driving the requester: from here through the ingress gateway, or from a Job inside the cluster."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chain import topology
from deploy.kubernetes import job, sampling, tracing
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Forbidden, Kubectl
from deploy.kubernetes.manifests import OURS, TRACES
from deploy.kubernetes.status import VERDICT
from deploy.kubernetes.way_in import rivals
from deploy.steps import DeployError, call_requester, names_target, say

NAMESPACE = topology.NAMESPACE
_SVC1 = topology.host(topology.DEFAULT.services[0])
_WORDS = {0: "connected", 1: "broken or failed", 3: "unproven"}


def run(place: str, data: Kubectl, mesh: Kubectl, parsed: argparse.Namespace, requester: list[str]) -> int:
    """The requester's exit code; 2 where nothing is deployed."""
    if data.server_version() is None:
        raise DeployError(data.silence())
    deployed = _deployed(data, named=names_target(requester))
    if deployed is not None and _SVC1 not in deployed:
        say(place, f"nothing is deployed: ./apply.sh {place} deploys it")
        return 2
    code = _called(place, data, parsed, requester, deployed or set())
    if deployed is not None and code in _WORDS:
        _keep(data, _WORDS[code])
    if code == 1 and not parsed.in_cluster:
        _point_to_rivals(place, data, mesh, parsed)
    if code == 3:
        _point_to_tracing(place, data, mesh, parsed)
    return code


def _called(place: str, data: Kubectl, parsed: argparse.Namespace, requester: list[str], deployed: set[str]) -> int:
    if parsed.in_cluster:
        with_store = TRACES in deployed
        return job.run(place, data, _gateway(data, parsed, place), requester, with_store=with_store)
    with _ingress(data, parsed, place, requester) as target, _trace_store(data, deployed) as traces:
        return call_requester([*target, *traces, *requester])


def _deployed(data: Kubectl, *, named: bool) -> set[str] | None:
    """Names of our Deployments; None where they may not be listed and the user named whom to call."""
    try:
        found = data.find("deployments", "--selector", OURS, namespace=NAMESPACE)
    except Forbidden:
        if named:
            return None
        raise DeployError(_blind(data, f"Deployments in {NAMESPACE}")) from None
    return {one["metadata"]["name"] for one in found}


def _blind(data: Kubectl, what: str) -> str:
    inside = ("exec", "--namespace", NAMESPACE, "deploy/grpc-client", "--", "python", "-m", "client", "call")
    return (
        f"no right to list {what} at {data.name}: name the ingress with --target HOST:PORT, or call from inside:"
        f" {data.shown(*inside, '--target', f'{_SVC1}:{topology.SERVICE_PORT}')}"
    )


def _gateway(data: Kubectl, parsed: argparse.Namespace, place: str) -> Gateway:
    ours = Gateway.of_the_gateway_api()
    return ours if ours.was_applied(data) else Gateway.of_the_mesh(parsed.ingress_namespace, asm=place == "asm")


@contextmanager
def _ingress(data: Kubectl, parsed: argparse.Namespace, place: str, requester: list[str]) -> Iterator[list[str]]:
    """The requester's option for the way in, unless the user named one."""
    if names_target(requester):
        yield []
        return
    gateway = _gateway(data, parsed, place)
    try:
        gateway.service(data)
    except Forbidden:
        raise DeployError(_blind(data, f"Services in {gateway.namespace}")) from None
    with gateway.reached(data) as address:
        say(place, f"calling {address}")
        yield ["--target", address]


@contextmanager
def _trace_store(data: Kubectl, deployed: set[str]) -> Iterator[list[str]]:
    """The requester's options for the overlay's trace store, where it is deployed."""
    if TRACES not in deployed:
        yield []
        return
    with data.forwarding(f"deployment/{TRACES}", NAMESPACE, topology.PAGES_PORT, topology.OTLP_HTTP_PORT) as ports:
        pages, otlp = (f"http://127.0.0.1:{ports[port]}" for port in (topology.PAGES_PORT, topology.OTLP_HTTP_PORT))
        yield ["--traces", pages, "--otlp", otlp]


def _keep(data: Kubectl, word: str) -> None:
    """For `apply.sh … status`; who may not annotate goes without."""
    when = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime())
    data("annotate", f"deployment/{_SVC1}", "--namespace", NAMESPACE, "--overwrite", f"{VERDICT}={word}, {when}")


def _point_to_rivals(place: str, data: Kubectl, mesh: Kubectl, parsed: argparse.Namespace) -> None:
    """Where calls fail although all is well: somebody else's Gateway may take them."""
    gateway = _gateway(data, parsed, place)
    try:
        found = [] if gateway.is_ours else rivals(data, mesh, gateway)
    except DeployError:
        return
    for text in found:
        say(place, f"note: {text}")


def _point_to_tracing(place: str, data: Kubectl, mesh: Kubectl, parsed: argparse.Namespace) -> None:
    """Where spans were not seen: whether the sidecars are told to make any."""
    try:
        namespaces = (NAMESPACE, parsed.ingress_namespace)
        seen = tracing.look(data, mesh, namespaces, tracing.revision_of(data, NAMESPACE))
    except DeployError:
        return
    found = sampling.tracing(tracing.SVC1, "in", seen.telemetries, seen.mesh)
    if found.state in ("off", "bootstrap") and not found.makes_spans:
        say(place, f"note: the sidecars of {NAMESPACE} make no spans: {found.why}")
