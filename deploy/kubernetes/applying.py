"""Putting the objects on a server: asked first, with nothing stored, then done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chain import topology
from deploy.kubernetes import fields, manifests, removal
from deploy.kubernetes.kubectl import Forbidden, Kubectl, Object
from deploy.kubernetes.manifests import is_namespace
from deploy.steps import DeployError, Done, say

NAMESPACE = topology.NAMESPACE
_DRY = "--dry-run=server"
_CONFLICT = re.compile(r'conflicts? with "([^"]+)"[^:\n]*:((?: \.\S+)|(?:\n- \S+)+)')


@dataclass(frozen=True, slots=True)
class Applying:
    """take_over: also what others have set becomes ours."""

    place: str
    take_over: bool = False

    def make_namespace(self, server: Kubectl, objects: Sequence[Object]) -> bool:
        """True where one was made. One that exists stays as it is: it may be somebody else's."""
        made = [self._make(server, found) for found in objects if is_namespace(found)]
        return any(made)

    def _make(self, server: Kubectl, namespace: Object) -> bool:
        name = namespace["metadata"]["name"]
        try:
            if server.namespace(name) is not None:
                return False
        except Forbidden:  # it is there, or applying to it will say that it is not
            return False
        say(self.place, f"making the namespace {name} at {server.name}")
        marked = namespace | {"metadata": namespace["metadata"] | {"annotations": {removal.MADE_BY_US: "apply.sh"}}}
        server.must("create", "--filename", "-", given=json.dumps(marked))
        return True

    def ask(self, server: Kubectl, objects: Sequence[Object]) -> list[str]:
        """A line for each reason for which the server would refuse an object; none where it takes them all."""
        if not objects or self._sent(server, objects, _DRY).returncode == 0:
            return []
        # Its answer for many does not say which object it is about.
        return [line for one in objects for line in self._refusals(server, one)]

    def send(self, server: Kubectl, objects: Sequence[Object]) -> None:
        if not objects:  # an overlay may have nothing for one of two servers, and kubectl takes that for a mistake
            return
        say(self.place, f"applying {len(objects)} objects to {server.name}")
        done = self._sent(server, objects)
        if done.returncode != 0:
            raise DeployError(
                f"{server.name} refuses an object, though it said that it would not:\n{done.stderr.strip()}"
            )

    def _sent(self, server: Kubectl, objects: Sequence[Object], *more: str) -> Done:
        force = ["--force-conflicts"] if self.take_over else []
        options = ("apply", "--server-side", f"--field-manager={fields.MANAGER}", *force, *more)
        return server(*options, "--filename", "-", given=manifests.dump(objects))

    def _refusals(self, server: Kubectl, found: Object) -> Iterator[str]:
        done = self._sent(server, [found], _DRY)
        if done.returncode == 0:
            return
        name = called(found)
        conflicts = list(_conflicts(done.stderr))
        for field, manager in conflicts:
            yield f"{name}: {field} is set by {manager}: {self._what_to_do(server, found)}"
        if not conflicts:
            yield f"{name}: {_cause(done)}"

    def _what_to_do(self, server: Kubectl, found: Object) -> str:
        kind = f"{found['kind'].lower()}.{manifests.group(found)}".removesuffix(".")
        delete = server.shown("delete", kind, found["metadata"]["name"], "--namespace", NAMESPACE)
        return f"--take-over makes it ours, or {delete}"


def _conflicts(said: str) -> Iterator[tuple[str, str]]:
    """Field and manager, as the API server lists them: one behind the colon, several below each other."""
    for manager, text in _CONFLICT.findall(said):
        for field in re.findall(r"\.\S+", text):
            yield field, manager


def _cause(done: Done) -> str:
    """The server's words in a line, without kubectl's."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Warning:")]
    return " ".join(lines).removeprefix("Error from server ").removeprefix("error: ") or f"exit code {done.returncode}"


def called(found: Object) -> str:
    return f"{found['kind'].lower()}/{found['metadata']['name']}"


def plain(objects: Sequence[Object]) -> list[Object]:
    return [found for found in objects if not is_namespace(found)]


def deployed(server: Kubectl) -> dict[str, Object]:
    """Our Deployments as the server has them, with who set which field; none where they may not be listed."""
    try:
        found = server.find("deployments", "--selector", manifests.OURS, "--show-managed-fields", namespace=NAMESPACE)
    except DeployError:
        return {}
    return {one["metadata"]["name"]: one for one in found if not one["metadata"].get("ownerReferences")}


def told_of_foreign_fields(place: str, server: Kubectl, there: dict[str, Object]) -> None:
    """What others have set in our pods stays, and is worth a word: a variable may be what broke the trace."""
    for name, found in there.items():
        for one in fields.foreign(found):
            say(
                place,
                f"deployment/{name}: {one.manager} has set {one.field}, which stays: {_takes_back(server, name, one)}",
            )


def _takes_back(server: Kubectl, name: str, found: fields.Foreign) -> str:
    where, variable = found.field.rsplit(".env.", 1) if ".env." in found.field else (found.field, "")
    if not variable:
        return server.shown(
            "get", f"deployment/{name}", "--namespace", NAMESPACE, "--show-managed-fields", "--output", "yaml"
        )
    return server.shown(
        "set",
        "env",
        f"deployment/{name}",
        "--namespace",
        NAMESPACE,
        f"--containers={where.rsplit('.', 1)[-1]}",
        f"{variable}-",
    )


def preview(how: Applying, server: Kubectl, objects: Sequence[Object]) -> str:
    """What would change at a server, as `kubectl diff` shows it; the objects themselves where it cannot say."""
    its = plain(objects)
    if not its:
        return f"# {server.name}: nothing\n"
    force = ["--force-conflicts"] if how.take_over else []
    options = ("diff", "--server-side", f"--field-manager={fields.MANAGER}", *force, "--filename", "-")
    done = server(*options, given=manifests.dump(its))
    if done.returncode == 0:
        return f"# {server.name}: {len(its)} objects, none of which would change\n"
    if "Error from server" not in done.stderr and done.stdout.strip():
        return f"# {server.name}: {len(its)} objects, with these changes\n{done.stdout}"
    if refused := how.ask(server, its) if server.server_version() and _is_there(server) else []:
        return "".join(f"# {server.name} would refuse {line}\n" for line in refused)
    return f"# {server.name}: {len(objects)} objects\n{manifests.dump(objects)}"


def _is_there(server: Kubectl) -> bool:
    try:
        return server.namespace(NAMESPACE) is not None
    except DeployError:
        return False
