"""The local mesh as a place: apply.sh brings it up or down, test.sh drives the requester through it."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from deploy.steps import call_requester, carry_out, names_target
from grpc_tracing.arguments import Parser
from mesh import cli, control, options
from mesh.envoy import binary
from mesh.errors import MeshError, NoEnvoyError
from mesh.options import Options
from mesh.state import State

# A mesh that lives for one test takes whatever ports are free, and so gets in nobody's way.
ANY_PORTS = {"port": 0, "pages_port": 0, "otlp_grpc_port": 0, "otlp_http_port": 0}


def apply(_place: str, arguments: list[str]) -> int:
    """`up` (also when nothing is said) or `down`, then the options of `python -m mesh`."""
    action = arguments[0] if arguments and arguments[0] in ("up", "down") else "up"
    rest = arguments[1:] if arguments[:1] == [action] else arguments
    alone = action == "up" and not _names_envoy(rest) and _has_no_envoy()
    code = cli.main([action, *rest, *(["--no-mesh"] if alone else [])], prog="./apply.sh local")
    if code == 0 and action == "up":
        sys.stdout.write("  test it  ./test.sh\n")
    return code


def test(_place: str, arguments: list[str]) -> int:
    """The requester's exit code, against the mesh that is up, else against one made for it; 2 where none comes up."""
    parsed, requester = test_parser().parse_known_args(arguments)
    return carry_out("mesh", lambda: _test(parsed, requester), failed=2)


def _test(parsed: argparse.Namespace, requester: list[str]) -> int:
    given = options.given_in(parsed)
    if names_target(requester):
        return call_requester(requester)
    if control.is_up(parsed.state) and not given:
        return _call_mesh(control.status(parsed.state), requester)
    if not given.keys() & {"mesh", "envoy"} and _has_no_envoy():
        given["mesh"] = False
    wanted = Options(**ANY_PORTS | given)  # first, so that wrong use leaves no folder behind
    cli.say("starting one for this test")
    with control.private(wanted, State(_private_directory()), cli.say) as found:
        return _call_mesh(found, requester)


def _private_directory() -> Path:
    """A new one. MeshError where none can be made."""
    # Not TMPDIR: a socket's path must be short.
    home = Path(os.environ.get("GRPC_TRACING_HOME", "/tmp")).absolute()  # noqa: S108 mkdtemp makes it ours alone
    try:
        home.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="grpc-tracing-", dir=home))
    except OSError as error:
        raise MeshError(f"cannot write to {home}: {error.strerror}; GRPC_TRACING_HOME names another folder") from error


def _names_envoy(arguments: list[str]) -> bool:
    return any(one.startswith(("--no-mesh", "--envoy")) for one in arguments)


def _has_no_envoy() -> bool:
    """And then a line says so. What is wrong with one that the user named is said where it is used."""
    try:
        binary.find()
    except NoEnvoyError as error:
        cli.say(f"{error}, and so does this run")
        return True
    except MeshError:
        return False
    return False


def test_parser() -> Parser:
    """Of `./test.sh local`: what it leaves goes to the requester."""
    found = Parser(
        prog="./test.sh local",
        description="Drives all four patterns through the mesh and gives the verdict. Without a mesh that is up, or"
        " with options for one, it makes one and takes it down afterwards.",
    )
    cli.add_state_to(found)
    options.add_to(found)
    return found


def _call_mesh(found: dict[str, Any], requester: list[str]) -> int:
    traces = ["--traces", found["traces"]] if found["traces"] else []
    otlp = ["--otlp", found["otlp_http"]] if found["otlp_http"] else []
    # Before the user's own, which holds where it is given.
    expect = ["--expect", ",".join(found["services"])]
    return call_requester(["--target", found["target"], *expect, *traces, *otlp, *requester])
