"""Stands in for kubectl and the API servers behind it, and writes down every call.

It answers as kubectl and the API documentation say, from one JSON file per server in the folder STAND_IN; KUBECONFIG
holds the name of the server. `kustomize` goes on to the real kubectl, which needs no server for it.
"""
# ruff: noqa: T201 (it prints, as kubectl does)

import copy
import fcntl
import json
import os
import signal
import site
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

Object = dict[str, Any]

# Plural, kind, group, in a namespace or not: what `kubectl api-resources` lists.
RESOURCES = [
    ("namespaces", "Namespace", "", False),
    ("services", "Service", "", True),
    ("serviceaccounts", "ServiceAccount", "", True),
    ("configmaps", "ConfigMap", "", True),
    ("pods", "Pod", "", True),
    ("events", "Event", "", True),
    ("deployments", "Deployment", "apps", True),
    ("endpointslices", "EndpointSlice", "discovery.k8s.io", True),
    ("jobs", "Job", "batch", True),
    ("cronjobs", "CronJob", "batch", True),
    ("poddisruptionbudgets", "PodDisruptionBudget", "policy", True),
    ("networkpolicies", "NetworkPolicy", "networking.k8s.io", True),
    ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "admissionregistration.k8s.io", False),
    ("gateways", "Gateway", "gateway.networking.k8s.io", True),
    ("grpcroutes", "GRPCRoute", "gateway.networking.k8s.io", True),
    ("gateways", "Gateway", "networking.istio.io", True),
    ("virtualservices", "VirtualService", "networking.istio.io", True),
    ("destinationrules", "DestinationRule", "networking.istio.io", True),
    ("authorizationpolicies", "AuthorizationPolicy", "security.istio.io", True),
    ("peerauthentications", "PeerAuthentication", "security.istio.io", True),
    ("telemetries", "Telemetry", "telemetry.istio.io", True),
]


def fail(text: str) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    sys.exit(1)


def group_of(found: Object) -> str:
    return str(found["apiVersion"].rpartition("/")[0])


def printed(found: Object) -> str:
    """As `--output name` has it."""
    return f"{found['kind'].lower()}.{group_of(found)}".removesuffix(".") + f"/{found['metadata']['name']}"


def key_of(found: Object) -> str:
    return f"{printed(found)} {found['metadata'].get('namespace', '')}"


def _is(owner: Object, found: Object) -> bool:
    """Two kinds may share a word, as Istio's Gateway and the Gateway API's do: the group tells them apart."""
    return owner["name"] == found["metadata"]["name"] and (owner["kind"], group_of(owner)) == (
        found["kind"],
        group_of(found),
    )


class Server:
    """One API server, with just as much of its controllers as makes pods."""

    def __init__(self, state: Object) -> None:
        self.state = state
        self.objects: dict[str, Object] = state["objects"]

    def served(self) -> list[tuple[str, str, str, bool]]:
        groups = {version.rpartition("/")[0] for version in self.state["api_versions"]}
        return [one for one in RESOURCES if one[2] in groups and one[1] not in self.state["lacks"]]

    def resource(self, name: str) -> tuple[str, str, str, bool]:
        plural, _, group = name.partition(".")
        for resource in self.served():
            if plural in (resource[0], resource[1].lower()) and (not group or group == resource[2]):
                return resource
        fail(f'error: the server doesn\'t have a resource type "{plural}"')

    def listed(self, names: str, options: Object) -> list[Object]:
        found = []
        for name in names.split(","):
            plural, kind, group, _ = self.resource(name)
            if plural in self.state["forbidden"] or f"{plural} {options.get('namespace')}" in self.state["forbidden"]:
                fail(
                    f'Error from server (Forbidden): {plural} is forbidden: User "dev" cannot list resource "{plural}"'
                )
            found += [one for one in self.objects.values() if (one["kind"], group_of(one)) == (kind, group)]
        return [one for one in found if self._matches(one, options)]

    @staticmethod
    def _matches(found: Object, options: Object) -> bool:
        metadata = found["metadata"]
        wanted = dict(pair.split("=", 1) for pair in options.get("selector", "").split(",") if pair)
        if "field-selector" in options:
            involved = options["field-selector"].removeprefix("involvedObject.name=")
            return bool(found["involvedObject"]["name"] == involved)
        namespace = metadata.get("namespace", "")
        return bool(
            namespace == options.get("namespace", namespace) and wanted.items() <= metadata.get("labels", {}).items()
        )

    def put(self, found: Object) -> None:
        """Stores what was sent; one that says the same changes nothing, not even its version."""
        old = self.objects.get(key_of(found))
        if old is not None and old["sent"] == found:
            return
        self.state["revision"] += 1
        stored = copy.deepcopy(found)
        stored["metadata"]["resourceVersion"] = str(self.state["revision"])
        self.objects[key_of(found)] = stored | {"sent": found}
        if old is not None and "managedFields" in old["metadata"]:
            stored["metadata"]["managedFields"] = old["metadata"]["managedFields"]
        if found["kind"] == "Deployment":
            self._run_pods(found)
        if (found["kind"], group_of(found)) == ("Gateway", "gateway.networking.k8s.io") and self.state["controls"]:
            self._start_gateway(found)

    def _start_gateway(self, gateway: Object) -> None:
        """As Istio's controller does: a Deployment and a Service with the Gateway's labels, owned by it."""
        name, metadata = gateway["metadata"]["name"], gateway["metadata"]
        labels = metadata.get("labels", {}) | {"gateway.networking.k8s.io/gateway-name": name}
        made = {"name": f"{name}-istio", "namespace": metadata["namespace"], "labels": labels} | {
            "ownerReferences": [{"apiVersion": gateway["apiVersion"], "kind": "Gateway", "name": name}]
        }
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "istio-proxy"}]}}
        selector = {"gateway.networking.k8s.io/gateway-name": name}
        deployment = {"selector": {"matchLabels": selector}, "template": template}
        for version, kind, spec in (
            ("apps/v1", "Deployment", deployment),
            ("v1", "Service", {"selector": selector, "ports": [{"port": 15021}, {"port": 9999}]}),
        ):
            one = {"apiVersion": version, "kind": kind, "metadata": made, "spec": spec}
            self.objects[key_of(one)] = one

    def _run_pods(self, deployment: Object) -> None:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        if reason := self.state["refuses_pods"]:
            condition = {"type": "ReplicaFailure", "status": "True", "message": reason}
            self.objects[key_of(deployment)]["status"] = {"conditions": [condition]}
            return
        for number in range(spec.get("replicas", 2)):
            pod = copy.deepcopy(spec["template"]) | {"apiVersion": "v1", "kind": "Pod"}
            pod["metadata"] |= {
                "name": f"{name}-{number}",
                "namespace": deployment["metadata"]["namespace"],
                # A ReplicaSet stands between the two in a real cluster.
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}],
            }
            ready = name not in self.state["not_ready"]
            pod["status"] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
            if self._injects(pod):
                pod["spec"].setdefault("initContainers", []).append({"name": "istio-proxy", "restartPolicy": "Always"})
            self.objects[key_of(pod)] = pod

    def _injects(self, pod: Object) -> bool:
        namespace = self.objects[f"namespace/{pod['metadata']['namespace']} "]["metadata"].get("labels", {})
        asked = pod["metadata"]["labels"].get("sidecar.istio.io/inject") != "false"
        return asked and namespace.get("istio-injection") == "enabled" and bool(self.state["injects"])

    def remove(self, found: Object) -> None:
        name = found["metadata"]["name"]
        del self.objects[key_of(found)]
        for key, one in list(self.objects.items()):
            owned = any(_is(owner, found) for owner in one["metadata"].get("ownerReferences", []))
            inside = found["kind"] == "Namespace" and one["metadata"].get("namespace") == name
            if inside or owned:
                del self.objects[key]


def read(text: str) -> list[Object]:
    """Documents of YAML. The stand-in starts dozens of times in a test: who needs no package pays for no import."""
    if sys.flags.no_site:
        site.main()
    import yaml

    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def version(server: Server, _: list[str], __: Object) -> None:
    print(json.dumps({"clientVersion": {}, "serverVersion": {"gitVersion": server.state["version"]}}))


def api_versions(server: Server, _: list[str], __: Object) -> None:
    print("\n".join(server.state["api_versions"]))


def api_resources(server: Server, _: list[str], options: Object) -> None:
    for plural, _kind, group, namespaced in server.served():
        if namespaced or "namespaced" not in options:
            print(f"{plural}.{group}".removesuffix("."))
    if server.state["broken_api"]:
        fail("error: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1: stale GroupVersion")


def config(server: Server, _: list[str], __: Object) -> None:
    print(server.state["name"])


def get(server: Server, words: list[str], options: Object) -> None:
    if "raw" in options:
        group = options["raw"].removeprefix("/apis/").partition("/")[0] if options["raw"].startswith("/apis/") else ""
        print(json.dumps({"resources": [{"kind": one[1]} for one in server.served() if one[2] == group]}))
        return
    found = server.listed(words[0], options)
    if len(words) == 1:
        print(json.dumps({"kind": "List", "items": found}))
        return
    named = [one for one in found if one["metadata"]["name"] == words[1]]
    if named:
        print(json.dumps(named[0]))
    elif "ignore-not-found" not in options:
        fail(f'Error from server (NotFound): {words[0]} "{words[1]}" not found')


def review(server: Server, reviews: list[Object], options: Object) -> None:
    assert options["output"] == 'jsonpath={.status.allowed}{"\\n"}', "the one format that the stand-in knows"
    assert options["validate"] == "false", "validation lists the custom resource definitions, which few users may"
    for attributes in (one["spec"]["resourceAttributes"] for one in reviews):
        resource = f"{attributes['resource']}.{attributes['group']}".removesuffix(".")
        print("false" if f"{attributes['verb']} {resource}" in server.state["denied"] else "true")


def create(server: Server, _: list[str], options: Object) -> None:
    if not (given := sys.stdin.read()).strip():
        fail("error: no objects passed to create")
    found, *more = read(given)
    if found["kind"] == "SelfSubjectAccessReview":
        review(server, [found, *more], options)
        return
    if key_of(found) in server.objects:
        fail(f"Error from server (AlreadyExists): {printed(found)} already exists")
    server.put(found)
    print(f"{printed(found)} created")


def apply(server: Server, _: list[str], options: Object) -> None:
    assert "server-side" in options, "the tests expect server-side apply"
    if not (given := sys.stdin.read()).strip():
        fail("error: no objects passed to apply")
    for found in read(given):
        if found["apiVersion"] not in server.state["api_versions"]:
            fail(f'error: resource mapping not found: no matches for kind "{found["kind"]}"')
        if f"namespace/{found['metadata']['namespace']} " not in server.objects:
            fail(f'Error from server (NotFound): namespaces "{found["metadata"]["namespace"]}" not found')
        if printed(found) in server.state["conflicts"] and "force-conflicts" not in options:
            fail(f"error: {CONFLICT}")
        if printed(found) in server.state["refused"]:
            fail(f"Error from server (Invalid): {printed(found)} is invalid: spec: denied the request")
        if "dry-run" not in options:
            server.put(found)
        print(f"{printed(found)} serverside-applied")


CONFLICT = """Apply failed with 3 conflicts: conflict with "kubectl-edit" using apps/v1: .spec.replicas
conflicts with "kubectl-client-side-apply" using apps/v1:
- .spec.template.spec.containers[name="talk"].image
- .spec.strategy
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""


def diff(server: Server, _: list[str], options: Object) -> None:
    """Exit code 1 where something would change, as kubectl has it."""
    assert "server-side" in options, "as it will be applied"
    changed = []
    for found in read(sys.stdin.read()):
        if f"namespace/{found['metadata']['namespace']} " not in server.objects:
            fail(f'Error from server (NotFound): namespaces "{found["metadata"]["namespace"]}" not found')
        if server.objects.get(key_of(found), {}).get("sent") != found:
            changed.append(f"+ {printed(found)}")
    print("\n".join(changed))
    sys.exit(1 if changed else 0)


def label(server: Server, words: list[str], options: Object) -> None:
    assert "overwrite" in options, "a label that is there stays without it"
    key, _, value = words[2].partition("=")
    server.objects[f"{words[0]}/{words[1]} "]["metadata"].setdefault("labels", {})[key] = value


def annotate(server: Server, words: list[str], options: Object) -> None:
    key, _, value = words[1].partition("=")
    found = server.objects[f"deployment.apps/{words[0].removeprefix('deployment/')} {options['namespace']}"]
    found["metadata"].setdefault("annotations", {})[key] = value


def delete(server: Server, words: list[str], options: Object) -> None:
    assert len(words) == 2 or "selector" in options, "nothing is deleted by its kind alone"
    chosen = [one for one in server.listed(words[0], options) if words[1:] in ([], [one["metadata"]["name"]])]
    for found in chosen:
        if printed(found) in server.state["stuck"]:
            fail(f"error: timed out waiting for the condition on {printed(found)}")
        if key_of(found) in server.objects:  # else it went with its owner
            server.remove(found)
        print(printed(found))
    if not chosen:
        print("No resources found")


def rollout(server: Server, words: list[str], _: Object) -> None:
    time.sleep(server.state["rollout_takes"])
    name = words[1].removeprefix("deployment/")
    if name in server.state["not_ready"]:
        print(f'Waiting for deployment "{name}" rollout to finish: 0 of 2 updated replicas are available...')
        fail("error: timed out waiting for the condition")
    print(f'deployment "{name}" successfully rolled out')


def logs(server: Server, words: list[str], _: Object) -> None:
    for line in server.state["logs"].get(words[0], []):
        print(f"[pod/{words[0]}/talk] {line}")


COMMANDS = {
    "version": version,
    "api-versions": api_versions,
    "api-resources": api_resources,
    "config": config,
    "get": get,
    "create": create,
    "apply": apply,
    "diff": diff,
    "annotate": annotate,
    "label": label,
    "delete": delete,
    "rollout": rollout,
    "logs": logs,
}
SWITCHES = {
    "server-side",
    "force-conflicts",
    "ignore-not-found",
    "no-headers",
    "namespaced",
    "all-namespaces",
    "all-containers",
    "show-managed-fields",
    "overwrite",
    "prefix",
}


def parse(arguments: list[str]) -> tuple[list[str], Object]:
    words, options = [], {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            words.append(argument)
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        options[name] = value if equals else ("" if name in SWITCHES else next(rest))
    return words, options


def port_forward(state: Object, words: list[str]) -> None:
    """Until it is told to end. `forwards`: where a port of the cluster is to be found on this machine."""
    _, target, *ports = words
    for port in (text.removeprefix(":") for text in ports):
        if port not in state["forwards"]:
            fail(f"error: unable to forward port because pod is not running: {target}")
        print(f"Forwarding from 127.0.0.1:{state['forwards'][port]} -> {port}", flush=True)
    signal.pause()


def main(arguments: list[str], environment: Mapping[str, str]) -> None:
    folder = Path(environment["STAND_IN"])
    words, options = parse(arguments)
    if words[0] == "kustomize":
        os.execv(environment["REAL_KUBECTL"], ["kubectl", *arguments])  # noqa: S606 no shell is what is wanted
    name = options.get("context") or environment.get("KUBECONFIG") or "cluster"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "calls").open("a") as calls:
            calls.write(json.dumps([name, *arguments[2 if arguments[0] == "--context" else 0 :]]) + "\n")
        file = folder / f"{name}.json"
        state = json.loads(file.read_text())
        if not state["answers"]:
            fail("The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?")
        if words[0] == "port-forward":
            lock.close()
            port_forward(state, words)
        server = Server(state)
        try:
            COMMANDS[words[0]](server, words[1:], options)
        finally:
            file.write_text(json.dumps(state))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
