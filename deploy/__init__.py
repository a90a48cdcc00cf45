"""Putting the chain somewhere, and proving it there.

A place is a module with `apply(place, arguments)` and `test(place, arguments)`, each returning an exit code.
"""

import importlib
import sys
from types import ModuleType

from deploy.steps import call_requester
from grpc_tracing.arguments import near
from grpc_tracing.version import VERSION

PLACES = {
    "local": "deploy.local.place",
    "compose": "deploy.compose.place",
    "k8s": "deploy.kubernetes.place",
    "asm": "deploy.kubernetes.place",
}

EXAMPLES = {
    "apply": {
        "local": ("./apply.sh", "./apply.sh local up --replicas 2 --tracer zipkin", "./apply.sh local down"),
        "compose": ("./apply.sh compose", "./apply.sh compose --jaeger --port 8080", "./apply.sh compose down"),
        "k8s": ("./apply.sh k8s --image registry.example/grpc-tracing:1 --build --push", "./apply.sh k8s down"),
        "asm": ("./apply.sh asm --image registry.example/grpc-tracing:1 --mesh-context asm", "./apply.sh asm down"),
    },
    "test": {
        "local": ("./test.sh", "./test.sh local --propagate svc2=none --rpc Talk", "./test.sh --json | jq .verdict"),
        "compose": ("./test.sh compose", "./test.sh compose --junit tracing.xml"),
        "k8s": ("./test.sh k8s", "./test.sh k8s --context staging --repeat 10"),
        "asm": ("./test.sh asm", "./test.sh asm --mesh-context asm --report asm.html"),
    },
}
"""By action and place. The first of each is the one to begin with."""

_WHAT = {"apply": "Deploys the chain", "test": "Tests what is deployed"}
_HELP = ("-h", "--help")


def main(arguments: list[str]) -> int:
    """Dispatch to a place, `local` where none is named. Exit code 2 for one that does not exist."""
    action, *rest = arguments or [""]
    if action not in EXAMPLES:
        sys.stderr.write(f"{action!r} is none of {', '.join(EXAMPLES)}\n")
        return 2
    if rest[:1] == ["--version"]:
        sys.stdout.write(f"grpc-tracing {VERSION}\n")
        return 0
    if rest and rest[0] in _HELP:
        sys.stdout.write(_overview(action))
        return 0
    place = rest.pop(0) if rest and not _is_for_the_place(rest[0]) else "local"
    if place not in PLACES:
        sys.stderr.write(f"./{action}.sh: {place!r} is no place: {_PLACES}{near(place, _words(action))}\n")
        return 2
    module = importlib.import_module(PLACES[place])
    return _help(module, action, place, rest) if set(rest) & set(_HELP) else _run(module, action, place, rest)


_PLACES = f"write one of {', '.join(PLACES)}"


def _words(action: str) -> tuple[str, ...]:
    return (*PLACES, "up", "down") if action == "apply" else tuple(PLACES)


def _run(module: ModuleType, action: str, place: str, arguments: list[str]) -> int:
    code: int = getattr(module, action)(place, arguments)
    return code


def _is_for_the_place(argument: str) -> bool:
    return argument.startswith("-") or argument in ("up", "down")


def _overview(action: str) -> str:
    examples = [f"  {examples[0]}" for examples in EXAMPLES[action].values()]
    return "\n".join(
        [
            f"usage: ./{action}.sh [{'|'.join(PLACES)}] [options]",
            "",
            f"{_WHAT[action]}: on this machine (local, where no place is named), in containers (compose), in",
            "Kubernetes with Istio (k8s) or with Alibaba Cloud Service Mesh (asm).",
            "",
            "examples:",
            *examples,
            "",
            *(f"./{action}.sh {place} --help tells the options there" for place in PLACES),
            "",
        ]
    )


def _help(module: ModuleType, action: str, place: str, arguments: list[str]) -> int:
    """A place's own, then examples, then what the requester takes as well."""
    given = [word for word in arguments if word in ("up", "down", "check")]
    try:
        _run(module, action, place, [*given[:1], "--help"])
    except SystemExit as ended:  # argparse, once it has printed
        if ended.code:
            raise
    sys.stdout.write("\n".join(["", "examples:", *(f"  {one}" for one in EXAMPLES[action][place]), ""]))
    if action == "test":
        sys.stdout.write("\nEvery other option goes to the requester:\n\n")
        sys.stdout.flush()
        return call_requester(["--help"])
    return 0
