"""Kubernetes with a mesh as a place, ASM among them: apply.sh deploys to it or clears it, test.sh drives the requester.

Objects of Istio's kinds go to the mesh's API server (MESH_KUBECONFIG), all others to the cluster's (KUBECONFIG); where
only one is named it gets both.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from chain import topology
from deploy.kubernetes import manifests, removal, rollout, tracing
from deploy.kubernetes.checks import Target, check
from deploy.kubernetes.gateway import Gateway
from deploy.kubernetes.kubectl import Kubectl, Object
from deploy.kubernetes.manifests import OURS, Images, is_namespace
from deploy.steps import ROOT, DeployError, call_requester, carry_out, names_target, need, run, say
from grpc_tracing.arguments import Parser
from grpc_tracing.printable import printable

NAMESPACE = topology.NAMESPACE
OVERLAY = {"k8s": "istio", "asm": "asm"}
_FIELD_MANAGER = "--field-manager=grpc-tracing"
_TRACES = "traces"
_WITH_HELP = "a component under k8s/components on top of the overlay; as often as wanted"


def apply(place: str, arguments: list[str]) -> int:
    """`up` (also when nothing is said), `down` or `check`."""
    parsed = parser(place).parse_args(arguments)
    action = {"up": _up, "down": _down, "check": _look}[parsed.action]
    return carry_out(place, lambda: action(place, parsed), failed=1)


def test(place: str, arguments: list[str]) -> int:
    """The requester's exit code; 2 where nothing can be called."""
    parsed, requester = test_parser(place).parse_known_args(arguments)
    return carry_out(place, lambda: _test(place, parsed, requester), failed=2)


def test_parser(place: str) -> Parser:
    """Of `./test.sh k8s` and `./test.sh asm`: what it leaves goes to the requester."""
    found = Parser(
        prog=f"./test.sh {place}",
        description="Drives all four patterns through the ingress gateway and gives the verdict.",
    )
    _add_servers(found)
    return found


def parser(place: str) -> Parser:
    """Of `./apply.sh k8s` and `./apply.sh asm`."""
    found = Parser(prog=f"./apply.sh {place}", description="Puts the chain into a cluster whose mesh is Istio's.")
    add = found.add_argument
    add("action", nargs="?", choices=("up", "down", "check"), default="up")
    add("--namespace", metavar="NAME", default=NAMESPACE, help="of the workloads that check shows [%(default)s]")
    add("--overlay", metavar="NAME", default=OVERLAY[place], help="under k8s/overlays, or a folder [%(default)s]")
    add("--with", dest="components", metavar="NAME", action="append", default=[], help=_WITH_HELP)
    add("--image", metavar="IMAGE", help="of the services, where the cluster can pull it")
    add("--mesh-image", metavar="IMAGE", help="of the client and the trace store [that of --image, its tag with -mesh]")
    add("--build", action="store_true", help="build both images under these names first")
    add("--push", action="store_true", help="and push them to their registry")
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
    mesh = Kubectl("the mesh", named or own, parsed.mesh_context or ("" if named else parsed.context))
    return data, mesh


def _up(place: str, parsed: argparse.Namespace) -> int:
    data, mesh = _servers(parsed)
    objects = manifests.render(data, parsed.overlay, parsed.components)
    images = _images(parsed, objects)
    say(place, f"{len(objects)} objects, from the overlay {' and '.join([parsed.overlay, *parsed.components])}")
    gateway = _gateway(objects, parsed, place)
    target = Target(place, data, mesh, objects, gateway)
    _check(place, target)
    objects = _fitted(target)
    target = replace(target, objects=objects)
    if images:
        _provide(place, parsed, images)
        manifests.set_images(objects, images)
    for server, its in reversed(target.servers()):  # the mesh's rules first: no pod runs without them
        _apply(place, server, its)
    for server, kinds in removal.kinds_by_server(data, mesh).items():
        removal.prune(place, server, kinds, objects)
    deployments = [found for found in objects if found["kind"] == "Deployment"]
    rollout.wait(place, data, deployments, gateway, parsed.timeout)
    rollout.check_sidecars(data)
    _print_places(place, target)
    return 0


def _look(place: str, parsed: argparse.Namespace) -> int:
    """Who traces, as a table: the ingress gateway and every workload of a namespace, the user's own as well."""
    data, mesh = _servers(parsed)
    for server in dict.fromkeys((data, mesh)):
        if server.server_version() is None:
            raise DeployError(f"{server.name} does not answer ({server.why_silent()})")
    namespaces = (parsed.namespace, parsed.ingress_namespace)
    seen = tracing.look(data, mesh, namespaces, tracing.revision_of(data, parsed.namespace))
    found = data.find("deployments", namespace=parsed.namespace)
    gateway = Gateway.of_the_mesh(parsed.ingress_namespace, asm=place == "asm").deployment(data)
    for hidden in seen.hidden:
        say(place, f"could not be seen: {hidden}")
    if not found:
        say(place, f"no Deployment in {parsed.namespace}: --namespace names that of your services")
    table = tracing.table(list(tracing.rows([*([gateway] if gateway else []), *found], seen)))
    sys.stdout.write(printable(table, keep="\n"))  # names of providers are free text
    return 0


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
    if manifests.has(objects, "Gateway", "gateway.networking.k8s.io"):
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
    for name in names.values() if parsed.push else ():
        say(place, f"pushing {name}")
        _docker("push", name)


def _docker(*arguments: str) -> None:
    done = run(["docker", *arguments], environment=os.environ | {"DOCKER_BUILDKIT": "1"})
    if done.returncode != 0:
        raise DeployError(f"docker {arguments[0]} failed:\n{done.stderr.strip()}")


def _apply(place: str, server: Kubectl, objects: list[Object]) -> None:
    for namespace in filter(is_namespace, objects):
        _make_namespace(place, server, namespace)
    its = [found for found in objects if not is_namespace(found)]
    if not its:  # an overlay may have nothing for one of two servers, and kubectl takes that for a mistake
        return
    say(place, f"applying {len(its)} objects to {server.name}")
    done = server("apply", "--server-side", _FIELD_MANAGER, "--filename", "-", given=manifests.dump(its))
    if "conflict" in done.stderr:
        raise DeployError(
            f"somebody else has set what we would set: take it back, or delete the object\n{done.stderr.strip()}"
        )
    if done.returncode != 0:
        raise DeployError(f"{server.name} refuses an object:\n{done.stderr.strip()}")


def _make_namespace(place: str, server: Kubectl, namespace: Object) -> None:
    """One that exists stays as it is: it may be somebody else's."""
    name = namespace["metadata"]["name"]
    if server.find("namespace", name):
        return
    say(place, f"making the namespace {name} at {server.name}")
    marked = namespace | {"metadata": namespace["metadata"] | {"annotations": {removal.MADE_BY_US: "apply.sh"}}}
    server.must("create", "--filename", "-", given=json.dumps(marked))


def _print_places(place: str, target: Target) -> None:
    lines = [f"ingress      {_ingress_address(target)}"]
    if manifests.has_named(target.objects, "Deployment", _TRACES):
        lines += [f"trace pages  kubectl port-forward -n {NAMESPACE} deployment/{_TRACES} {topology.PAGES_PORT}"]
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


def _test(place: str, parsed: argparse.Namespace, requester: list[str]) -> int:
    data, _ = _servers(parsed)
    if data.server_version() is None:
        raise DeployError(
            f"{data.name} does not answer ({data.why_silent()}): see KUBECONFIG, and whether its API is open"
        )
    deployed = {
        found["metadata"]["name"] for found in data.find("deployments", "--selector", OURS, namespace=NAMESPACE)
    }
    if topology.host(topology.DEFAULT.services[0]) not in deployed:
        say(place, f"nothing is deployed: ./apply.sh {place} deploys it")
        return 2
    with _ingress(data, parsed, place, requester) as target, _trace_store(data, deployed) as traces:
        return call_requester([*target, *traces, *requester])


@contextmanager
def _ingress(data: Kubectl, parsed: argparse.Namespace, place: str, requester: list[str]) -> Iterator[list[str]]:
    """The requester's option for the way in, unless the user named one."""
    if names_target(requester):
        yield []
        return
    ours = Gateway.of_the_gateway_api()
    gateway = ours if ours.was_applied(data) else Gateway.of_the_mesh(parsed.ingress_namespace, asm=place == "asm")
    with gateway.reached(data) as address:
        say(place, f"calling {address}")
        yield ["--target", address]


@contextmanager
def _trace_store(data: Kubectl, deployed: set[str]) -> Iterator[list[str]]:
    """The requester's options for the overlay's trace store, where it is deployed."""
    if _TRACES not in deployed:
        yield []
        return
    with data.forwarding(f"deployment/{_TRACES}", NAMESPACE, topology.PAGES_PORT, topology.OTLP_HTTP_PORT) as ports:
        pages, otlp = (f"http://127.0.0.1:{ports[port]}" for port in (topology.PAGES_PORT, topology.OTLP_HTTP_PORT))
        yield ["--traces", pages, "--otlp", otlp]


def _down(place: str, parsed: argparse.Namespace) -> int:
    data, mesh = _servers(parsed)
    both = removal.kinds_by_server(data, mesh)
    for server in both:
        if server.server_version() is None:
            raise DeployError(f"nothing was deleted: {server.name} does not answer ({server.why_silent()})")
    failures = [failure for server, kinds in both.items() for failure in removal.clear(place, server, kinds)]
    if failures:
        raise DeployError("\n  ".join(["not all of ours could be deleted:", *failures]))
    return 0
