"""Kubernetes with a mesh as a place, ASM among them: apply.sh deploys to it or clears it, test.sh drives the requester.

Objects of Istio's kinds go to the mesh's API server (MESH_KUBECONFIG), all others to the cluster's (KUBECONFIG); where
only one is named it gets both.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from chain import topology
from deploy.kubernetes import applying, fields, manifests, removal, rollout, sbom, status, testing, tracing
from deploy.kubernetes.checks import check
from deploy.kubernetes.findings import Target
from deploy.kubernetes.gateway import GATEWAY, Gateway
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.kubernetes.manifests import Images
from deploy.steps import ROOT, DeployError, carry_out, need, run, say
from grpc_tracing.arguments import Parser
from grpc_tracing.printable import printable

NAMESPACE = topology.NAMESPACE
OVERLAY = {"k8s": "istio", "asm": "asm"}
_GATEWAY_API = "gateway.networking.k8s.io"
_WITH_HELP = "a component under k8s/components on top of the overlay; as often as wanted"


def apply(place: str, arguments: list[str]) -> int:
    """`up` (also when nothing is said), `down`, `check` or `status`."""
    parsed = parser(place).parse_args(arguments)
    action = {"up": _up, "down": _down, "check": _look, "status": _status}[parsed.action]
    return carry_out(place, lambda: action(place, parsed), failed=1)


def test(place: str, arguments: list[str]) -> int:
    """The requester's exit code; 2 where nothing can be called."""
    parsed, requester = test_parser(place).parse_known_args(arguments)
    return carry_out(place, lambda: testing.run(place, *_servers(parsed), parsed, requester), failed=2)


def test_parser(place: str) -> Parser:
    """Of `./test.sh k8s` and `./test.sh asm`: what it leaves goes to the requester."""
    found = Parser(
        prog=f"./test.sh {place}",
        description="Drives all four patterns through the ingress gateway and gives the verdict.",
    )
    _add_servers(found)
    found.add_argument("--in-cluster", action="store_true", help="call from a Job in the cluster, and show its log")
    return found


def parser(place: str) -> Parser:
    """Of `./apply.sh k8s` and `./apply.sh asm`."""
    found = Parser(prog=f"./apply.sh {place}", description="Puts the chain into a cluster whose mesh is Istio's.")
    add = found.add_argument
    add("action", nargs="?", choices=("up", "down", "check", "status"), default="up")
    add("--namespace", metavar="NAME", default=NAMESPACE, help="of the workloads that check shows [%(default)s]")
    add("--overlay", metavar="NAME", default=OVERLAY[place], help="under k8s/overlays, or a folder [%(default)s]")
    add("--with", dest="components", metavar="NAME", action="append", default=[], help=_WITH_HELP)
    add("--image", metavar="IMAGE", help="of the services, where the cluster can pull it")
    add("--mesh-image", metavar="IMAGE", help="of the client and the trace store [that of --image, its tag with -mesh]")
    add("--build", action="store_true", help="build both images under these names first")
    add("--sbom", metavar="FILE", type=Path, help="and write what is in them, as CycloneDX's JSON")
    add("--push", action="store_true", help="and push them to their registry")
    add("--dry-run", action="store_true", help="show what would change on which server, and change nothing")
    add("--take-over", action="store_true", help="also set the fields that somebody else has set")
    add("--timeout", metavar="SECONDS", type=int, default=180, help="until all pods have to be ready [%(default)s]")
    _add_servers(found)
    return found


def _add_servers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--context", default="", help="kubectl's, for the cluster (KUBECONFIG)")
    add("--mesh-context", default="", help="kubectl's, for the mesh (MESH_KUBECONFIG, else KUBECONFIG)")
    add("--ingress-namespace", metavar="NAME", default="istio-system", help="the ingress gateway's [%(default)s]")


def _servers(parsed: argparse.Namespace) -> tuple[Kubectl, Kubectl]:
    """The cluster's and the mesh's."""
    need("kubectl", "install it, 1.28 or later; ./apply.sh local and ./apply.sh compose need no cluster")
    own = os.environ.get("KUBECONFIG", "")
    data = Kubectl("the cluster", own, parsed.context)
    named = os.environ.get("MESH_KUBECONFIG", "")
    context = parsed.mesh_context or ("" if named else parsed.context)
    mesh = Kubectl("the mesh", named or own, context, "MESH_KUBECONFIG" if named else "KUBECONFIG")
    return data, mesh


def _up(place: str, parsed: argparse.Namespace) -> int:
    data, mesh = _servers(parsed)
    objects = manifests.render(data, parsed.overlay, parsed.components)
    images = _images(parsed, objects)
    say(place, f"{len(objects)} objects, from the overlay {' and '.join([parsed.overlay, *parsed.components])}")
    gateway = _gateway(objects, parsed, place)
    target = Target(place, data, mesh, objects, gateway)
    how = applying.Applying(place, take_over=parsed.take_over)
    if parsed.dry_run:
        return _show(target, images, how)
    _check(place, target)
    objects = _fitted(target)
    target = replace(target, objects=objects)
    if images:
        _provide(place, parsed, images)
        manifests.set_images(objects, images)
    there = applying.deployed(data)
    objects = fields.without_replicas(objects, there)
    target = replace(target, objects=objects)
    _put(how, target)
    applying.told_of_foreign_fields(place, data, there)
    for server, kinds in removal.kinds_by_server(data, mesh).items():
        removal.prune(place, server, kinds, objects)
    deployments = [found for found in objects if found["kind"] == "Deployment"]
    rollout.wait(place, data, deployments, gateway, parsed.timeout)
    if not manifests.is_ambient(objects):
        rollout.check_sidecars(data)
    _print_places(place, target)
    return 0


def _show(target: Target, images: Images | None, how: applying.Applying) -> int:
    """What up would change, with what the checks find: they fail nothing here."""
    for finding in check(target):
        say(target.place, f"{finding.kind}: {finding.text}")
    objects = _fitted(target)
    if images:
        manifests.set_images(objects, images)
    objects = fields.without_replicas(objects, applying.deployed(target.data))
    for server, its in reversed(replace(target, objects=objects).servers()):
        sys.stdout.write(printable(applying.preview(how, server, its), keep="\n\t"))
    return 0


def _look(place: str, parsed: argparse.Namespace) -> int:
    """Who traces, as a table: the ingress gateway and every workload of a namespace, the user's own as well."""
    seen, found = _seen(place, parsed)
    table = tracing.table(list(tracing.rows(found, seen)))
    sys.stdout.write(printable(table, keep="\n"))  # names of providers are free text
    return 0


def _status(place: str, parsed: argparse.Namespace) -> int:
    """What runs of ours, and how it traces."""
    data, _ = _servers(parsed)
    seen, found = _seen(place, parsed)
    sys.stdout.write(printable(status.table(data, found, seen), keep="\n"))
    return 0


def _seen(place: str, parsed: argparse.Namespace) -> tuple[tracing.Seen, list[Object]]:
    """What the servers say of tracing, and the workloads that it concerns: the ingress gateway first."""
    data, mesh = _servers(parsed)
    for server in dict.fromkeys((data, mesh)):
        if server.server_version() is None:
            raise DeployError(server.silence())
    namespaces = (parsed.namespace, parsed.ingress_namespace)
    seen = tracing.look(data, mesh, namespaces, tracing.revision_of(data, parsed.namespace))
    found = data.find("deployments", namespace=parsed.namespace)
    gateway = Gateway.of_the_mesh(parsed.ingress_namespace, asm=place == "asm").deployment(data)
    for hidden in seen.hidden:
        say(place, f"could not be seen: {hidden}")
    if not found:
        say(place, f"no Deployment in {parsed.namespace}: --namespace names that of your services")
    return seen, [*([gateway] if gateway else []), *found]


def _fitted(target: Target) -> list[Object]:
    """Our Telemetry as this mesh can use it; as it stands where that cannot be seen. The checks have said which."""
    gateway = target.gateway.namespace
    try:
        revision = tracing.revision_of(target.data, NAMESPACE)
        return tracing.fitted(target.objects, tracing.look(target.data, target.mesh, (NAMESPACE, gateway), revision))[0]
    except DeployError:
        return list(target.objects)


def _images(parsed: argparse.Namespace, objects: list[Object]) -> Images | None:
    """The names to deploy; None where the overlay names published ones by itself."""
    if parsed.push and not (parsed.build and parsed.image):
        raise DeployError("--push needs --build and --image REGISTRY/NAME:TAG, the name to push it under")
    if parsed.sbom:
        if not parsed.build:
            raise DeployError("--sbom needs --build: it tells what was built")
        sbom.check(parsed.sbom)
    if parsed.image:
        return Images.named(parsed.image, parsed.mesh_image)
    if not manifests.needs_images(objects):
        return None
    if not parsed.build:
        raise DeployError(
            "no image is published: --image REGISTRY/NAME:TAG names yours, --build makes it, --push pushes it there"
        )
    named = {container["image"].partition(":")[0]: container["image"] for container in manifests.containers(objects)}
    if not {manifests.SERVICE_IMAGE, manifests.MESH_IMAGE} <= named.keys():
        raise DeployError("the overlay names one of the two images itself: name both there, or give --image")
    return Images(named[manifests.SERVICE_IMAGE], parsed.mesh_image or named[manifests.MESH_IMAGE])


def _gateway(objects: Iterable[Object], parsed: argparse.Namespace, place: str) -> Gateway:
    if any(one["metadata"]["name"] == GATEWAY for one in manifests.of_kind(objects, "Gateway", _GATEWAY_API)):
        return Gateway.of_the_gateway_api()
    return Gateway.of_the_mesh(parsed.ingress_namespace, asm=place == "asm")


def _check(place: str, target: Target) -> None:
    findings = check(target)
    for finding in findings:
        say(place, f"{finding.kind}: {finding.text}")
    failed = sum(finding.kind == "failed" for finding in findings)
    if failed:
        raise DeployError(f"nothing was changed: {failed} of {len(findings)} checks failed")


def _provide(place: str, parsed: argparse.Namespace, images: Images) -> None:
    names = {"service": images.service, "mesh": images.mesh}
    if not parsed.build:
        return
    need("docker", "it builds the images; --image without --build takes ones that exist")
    base = ["--build-arg", f"BASE_IMAGE={os.environ['BASE_IMAGE']}"] if os.environ.get("BASE_IMAGE") else []
    for target, name in names.items():
        say(place, f"building {name}")
        _docker("build", "--target", target, "--tag", name, *base, str(ROOT))
    if parsed.sbom:
        say(place, f"writing {parsed.sbom}")
        sbom.write(parsed.sbom, names, sbom.base_image(os.environ))
    for name in names.values() if parsed.push else ():
        say(place, f"pushing {name}")
        _docker("push", name)


def _docker(*arguments: str) -> None:
    done = run(["docker", *arguments], environment=os.environ | {"DOCKER_BUILDKIT": "1"})
    if done.returncode != 0:
        raise DeployError(f"docker {arguments[0]} failed:\n{done.stderr.strip()}")


def _put(how: applying.Applying, target: Target) -> None:
    """All servers are asked before the first one is changed; a namespace that was made for it goes again."""
    made = [server for server, its in reversed(target.servers()) if how.make_namespace(server, its)]
    servers = [(server, applying.plain(its)) for server, its in reversed(target.servers())]
    refused = [line for server, its in servers for line in how.ask(server, its)]
    if refused:
        for server in made:
            server.must("delete", "namespace", NAMESPACE)
        raise DeployError("\n  ".join([f"nothing was changed: {len(refused)} refusals", *refused]))
    for server, its in servers:  # the mesh's rules first: no pod runs without them
        how.send(server, its)


def _print_places(place: str, target: Target) -> None:
    lines = [f"ingress      {_ingress_address(target)}"]
    if manifests.has_named(target.objects, "Deployment", manifests.TRACES):
        forward = ("port-forward", "--namespace", NAMESPACE, f"deployment/{manifests.TRACES}", str(topology.PAGES_PORT))
        lines += [f"trace pages  {target.data.shown(*forward)}"]
        say(place, _what_the_mesh_needs(target.gateway))
    elif place == "asm":
        lines += ["trace pages  in the console of Managed Service for OpenTelemetry: docs/asm.md"]
    sys.stdout.write("".join(f"  {line}\n" for line in [*lines, f"test it      ./test.sh {place}"]))


def _ingress_address(target: Target) -> str:
    try:
        service = target.gateway.service(target.data)
    except DeployError:
        return "not to be seen: ask for its address, and give it to the test with --target"
    address = target.gateway.address(service) if service else None
    return address or "no address from outside: test.sh forwards a port"


def _what_the_mesh_needs(gateway: Gateway) -> str:
    """The provider's definition, and for a gateway in another namespace the Telemetry that uses it."""
    entry = (
        f"the mesh's administrator adds to its configuration, once:\n{tracing.indented(manifests.EXTENSION_PROVIDER)}"
    )
    if gateway.is_ours:
        return entry
    used = tracing.telemetry(gateway.namespace, manifests.PROVIDER)
    return f"{entry}\nand applies at the mesh, for the ingress gateway:\n{tracing.indented(used)}"


def _down(place: str, parsed: argparse.Namespace) -> int:
    data, mesh = _servers(parsed)
    both = removal.kinds_by_server(data, mesh)
    for server in both:
        if server.server_version() is None:
            raise DeployError(f"nothing was deleted: {server.silence()}")
    failures = [failure for server, kinds in both.items() for failure in removal.clear(place, server, kinds)]
    if failures:
        raise DeployError("\n  ".join(["not all of ours could be deleted:", *failures]))
    return 0
