"""kubectl, bound to one API server."""

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml

from deploy.steps import DeployError, Done, last_line, run

Object = dict[str, Any]

_ANSWERS_WITHIN = "--request-timeout=15s"
_FORWARDS_WITHIN = 20.0
"""Seconds until a forwarded port has to be open."""


class Forbidden(DeployError):  # noqa: N818 - reads as what it says
    """The server answers, and does not let the user do it."""


class Access(NamedTuple):
    """What somebody wants to do to a kind of object in a namespace."""

    verb: str
    resource: str
    group: str
    namespace: str


@dataclass(frozen=True)
class Kubectl:
    """name: what messages call the server; kubeconfig: as in the variable KUBECONFIG, empty for the user's own.

    variable: the one that names its kubeconfig, for commands that messages print.
    """

    name: str
    kubeconfig: str = ""
    context: str = ""
    variable: str = "KUBECONFIG"
    _environment: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        chosen = {"KUBECONFIG": self.kubeconfig} if self.kubeconfig else {}
        object.__setattr__(self, "_environment", os.environ | chosen)

    def same_server(self, other: "Kubectl") -> bool:
        return (self.kubeconfig, self.context) == (other.kubeconfig, other.context)

    def __call__(self, *arguments: str, given: str | None = None) -> Done:
        return run(self.command(*arguments), given=given, environment=self._environment)

    def command(self, *arguments: str) -> list[str]:
        return ["kubectl", *(["--context", self.context] if self.context else []), *arguments]

    def shown(self, *arguments: str) -> str:
        """A command that works in the user's shell as it stands, for this server."""
        variable = "" if self.variable == "KUBECONFIG" else f"KUBECONFIG=${self.variable} "
        return f"{variable}{shlex.join(self.command(*arguments))}"

    def must(self, *arguments: str, given: str | None = None) -> str:
        """What it says; DeployError with its own words where it fails."""
        done = self(*arguments, given=given)
        if done.returncode != 0:
            text = f"kubectl {' '.join(arguments[:2])} failed at {self.name}: {done.stderr.strip()}"
            raise Forbidden(text) if "(Forbidden)" in done.stderr else DeployError(text)
        return done.stdout

    def find(self, *what: str, namespace: str = "") -> list[Object]:
        """Objects, none where there are none. DeployError where the server does not say (`Forbidden`, for example)."""
        where = ["--namespace", namespace] if namespace else []
        text = self.must("get", *what, *where, "--output", "json", "--ignore-not-found", _ANSWERS_WITHIN)
        found = json.loads(text) if text.strip() else {"items": []}
        return list(found["items"]) if "items" in found else [found]

    def namespace(self, name: str) -> Object | None:
        """None where there is none. Forbidden where the user may not look."""
        return next(iter(self.find("namespace", name)), None)

    def server_version(self) -> str | None:
        """None where nobody answers."""
        done = self("version", "--output", "json", _ANSWERS_WITHIN)
        if done.returncode != 0:  # it may have asked for a user's name, in place of JSON
            return None
        versions = json.loads(done.stdout)
        return versions["serverVersion"]["gitVersion"] if "serverVersion" in versions else None

    def context_name(self) -> str:
        """Which of the user's clusters this is; empty where kubectl does not say."""
        return self.context or self("config", "current-context").stdout.strip()

    def silence(self) -> str:
        """Of a server that does not answer: kubectl's reason, and where to look."""
        done = self("version", "--output", "json", _ANSWERS_WITHIN)
        why = last_line(done)
        look = f"see {self.variable}, and whether its API is open"
        if done.stdout.startswith("Please enter Username"):
            why, look = "no credentials", f"the context's user in {self.variable} has none"
        if re.search(r"context .* does not exist", why):
            contexts = replace(self, context="").shown("config", "get-contexts")
            look = f"{contexts} shows those that there are"
        return f"{self.name} does not answer ({why}): {look}"

    def api_versions(self) -> set[str]:
        return set(self.must("api-versions", _ANSWERS_WITHIN).split())

    def kinds(self, version: str) -> set[str]:
        """What an API version that is served has."""
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return {one["kind"] for one in json.loads(self.must("get", "--raw", path, _ANSWERS_WITHIN))["resources"]}

    def resources(self) -> set[str]:
        """The full names of all that is served, whichever API answers: one that does not, somebody's, is left out."""
        done = self("api-resources", "--output", "name", "--no-headers")
        if not done.stdout.strip():
            raise DeployError(f"kubectl api-resources failed at {self.name}: {last_line(done)}")
        return set(done.stdout.split())

    def may(self, asked: Iterable[Access]) -> list[bool]:
        """Whether the user may, in the order asked; one call for all, and nothing is stored by it."""
        reviews = yaml.safe_dump_all(_review(*one) for one in asked)
        if not reviews:  # kubectl takes no input for a mistake
            return []
        # Validation would want to list all custom resource definitions, which few users may.
        asking = ("create", "--output", 'jsonpath={.status.allowed}{"\\n"}', "--validate=false", "--filename", "-")
        return [line == "true" for line in self.must(*asking, given=reviews).split()]

    @contextmanager
    def forwarding(self, target: str, namespace: str, *ports: int) -> Iterator[dict[int, int]]:
        """Ports of 127.0.0.1 that lead to the target's for as long as the block runs, by the target's."""
        command = self.command("port-forward", "--namespace", namespace, target, *(f":{port}" for port in ports))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environment
        )
        try:
            yield _forwarded(process, target, len(ports))
        finally:
            process.terminate()
            process.communicate()


def _review(verb: str, resource: str, group: str, namespace: str) -> Object:
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def _forwarded(process: subprocess.Popen[str], target: str, count: int) -> dict[int, int]:
    """Reads what kubectl says of each port. A watchdog ends a kubectl that says nothing, which ends the reading."""
    watchdog = threading.Timer(_FORWARDS_WITHIN, process.kill)
    watchdog.start()
    ports: dict[int, int] = {}
    try:
        for line in process.stdout or ():
            if match := re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)", line):
                ports[int(match[2])] = int(match[1])
            if len(ports) == count:
                return ports
    finally:
        watchdog.cancel()
    _, errors = process.communicate()
    raise DeployError(f"cannot forward a port to {target}: {errors.strip() or 'kubectl said nothing'}")
