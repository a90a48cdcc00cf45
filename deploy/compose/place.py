"""compose.yaml as a place: apply.sh brings its containers up or down, test.sh drives the requester through them."""

import argparse
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chain import topology
from deploy.steps import (
    ROOT,
    DeployError,
    Done,
    call_requester,
    carry_out,
    follow,
    last_line,
    names_target,
    need,
    run,
    say,
)
from grpc_tracing.arguments import Parser, checked
from grpc_tracing.calling import targets

PLACE = "compose"


class Port(NamedTuple):
    """A port that is published on 127.0.0.1: the variable of compose.yaml, our option, the container's side."""

    variable: str
    option: str
    service: str
    inside: int
    what: str


PORTS = (
    Port("INGRESS_PORT", "--port", "ingress", topology.INGRESS_PORT, "the ingress"),
    Port("PAGES_PORT", "--pages-port", "traces", topology.PAGES_PORT, "the trace pages"),
    Port("OTLP_GRPC_PORT", "--otlp-grpc-port", "traces", topology.OTLP_GRPC_PORT, "spans over gRPC"),
    Port("OTLP_HTTP_PORT", "--otlp-http-port", "traces", topology.OTLP_HTTP_PORT, "spans over HTTP"),
)
JAEGER_PAGES = Port("JAEGER_PORT", "--jaeger-port", "jaeger", 16686, "Jaeger's pages")
JAEGER_OTLP = Port("JAEGER_OTLP_HTTP_PORT", "--jaeger-otlp-http-port", "jaeger", 4318, "spans to Jaeger")
JAEGER_PORTS = (JAEGER_PAGES, JAEGER_OTLP)

_BETWEEN_STEPS = 5.0

# As BuildKit prints them to what is no terminal: `#12 [build-mesh 3/5] RUN …`.
_STEP = re.compile(r"#\d+ \[(.+?)\] (.+)")

_LEFTOVERS = 30.0
"""Seconds that the engine may take to let go of what was removed."""

# Compose labels the images that it builds with the project too, and so whatever anybody starts from them.
ITS_OWN = ("--filter", "label=com.docker.compose.container-number")

_OLDEST = (2, 21)
"""Before this one `docker compose ps --format json` printed an array in place of a line per container."""

_INSTALL = "install Docker with Compose 2.21 or later, or use ./apply.sh local, which needs neither"


class Steps:
    """Says the steps of a build: the first at once, then one every few seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def tell(self, line: str) -> None:
        step = _STEP.match(line)
        if step and time.monotonic() >= self._next:
            say(PLACE, f"building {step[1]}: {step[2][:100]}")
            self._next = time.monotonic() + _BETWEEN_STEPS


class Compose:
    """docker compose on our file, with the settings of one run."""

    def __init__(self, settings: Mapping[str, str], *, jaeger: bool = False) -> None:
        self._environment = os.environ | dict(settings)
        self._profile = ["--profile", "jaeger"] if jaeger else []

    def __call__(self, *arguments: str) -> Done:
        return run(self._command(*arguments), environment=self._environment)

    def build(self) -> Done:
        """Says meanwhile which step it is at, though not each of them."""
        return follow(self._command("build"), Steps().tell, environment=self._environment)

    def _command(self, *arguments: str) -> list[str]:
        file = ["--project-directory", str(ROOT), "--file", str(ROOT / "compose.yaml")]
        return ["docker", "compose", *file, *self._profile, *arguments]

    def must(self, *arguments: str) -> str:
        done = self(*arguments)
        if done.returncode != 0:
            raise DeployError(f"docker compose {arguments[0]} failed:\n{done.stderr.strip()}")
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """The project's, in any state, as `docker compose ps` describes them."""
        return [json.loads(line) for line in self.must("ps", "--all", "--format", "json").splitlines()]

    def left(self) -> list[str]:
        """The containers, networks and volumes that carry the project's label."""
        label = f"label=com.docker.compose.project={self._project()}"
        kinds = (("ps", "--all", *ITS_OWN, "{{.Names}}"), ("network", "ls", "{{.Name}}"), ("volume", "ls", "{{.Name}}"))
        asked = [["docker", *command, "--format", name, "--filter", label] for *command, name in kinds]
        return [name for command in asked for name in run(command, environment=self._environment).stdout.split()]

    def _project(self) -> str:
        return str(json.loads(self.must("config", "--format", "json"))["name"])

    def wanted(self, ports: Iterable[Port]) -> dict[Port, int]:
        """The ports on this machine: ours, else as Compose reads them from the environment or the file .env."""
        done = self("config", "--format", "json")
        if done.returncode != 0:
            variables = ", ".join(port.variable for port in (*PORTS, *JAEGER_PORTS))
            raise DeployError(f"compose.yaml cannot be used: {last_line(done)} (see {variables}, set here or in .env)")
        services = json.loads(done.stdout)["services"]
        return {
            port: int(one["published"])
            for port in ports
            for one in services[port.service]["ports"]
            if one["target"] == port.inside and one["published"].isdecimal()  # a range is left to Compose
        }

    def published(self, port: Port) -> int | None:
        """The port on this machine that a running container has taken for it."""
        done = self("port", port.service, str(port.inside))
        return int(done.stdout.strip().rpartition(":")[2]) if done.returncode == 0 and done.stdout.strip() else None


def apply(_place: str, arguments: list[str]) -> int:
    """`up` (also when nothing is said) or `down`."""
    parsed = parser().parse_args(arguments)
    action = _up if parsed.action == "up" else _down
    return carry_out(PLACE, lambda: action(parsed), failed=1)


def test(_place: str, arguments: list[str]) -> int:
    """The requester's exit code; 2 where nothing can be called."""
    if arguments == ["--help"]:
        sys.stdout.write("usage: ./test.sh compose [requester options]\n")
        return 0
    return carry_out(PLACE, lambda: _test(arguments), failed=2)


def parser() -> Parser:
    """Of `./apply.sh compose`."""
    found = Parser(prog="./apply.sh compose", description="Builds the images and runs the chain in containers.")
    found.add_argument("action", nargs="?", choices=("up", "down"), default="up")
    for port in (*PORTS, *JAEGER_PORTS):
        found.add_argument(port.option, dest=port.variable, type=_port, metavar="N", help=f"{port.what}, on 127.0.0.1")
    found.add_argument(
        "--collector",
        type=checked(_host_and_port),
        metavar="HOST:PORT",
        help="pass the spans on to this backend too, by OTLP over gRPC; by HTTP or TLS with FORWARD=URL in the "
        "environment, headers with OTEL_EXPORTER_OTLP_HEADERS",
    )
    found.add_argument("--jaeger", action="store_true", help="send the traces to Jaeger 2 as well")
    return found


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _host_and_port(text: str) -> str:
    targets.split_host_port(text, lowest=1)
    return text


def _settings(parsed: argparse.Namespace) -> dict[str, str]:
    given = {port.variable: getattr(parsed, port.variable) for port in (*PORTS, *JAEGER_PORTS)}
    collector = {"COLLECTOR": "jaeger"} if parsed.jaeger else {}
    forward = {"FORWARD": f"grpc://{parsed.collector}"} if parsed.collector else {}
    return {name: str(value) for name, value in given.items() if value} | collector | forward


def _check_engine() -> None:
    need("docker", _INSTALL)
    version = run(["docker", "compose", "version", "--short"])
    if version.returncode != 0:
        raise DeployError(f"docker has no compose command: {_INSTALL}")
    if _is_too_old(version.stdout):
        raise DeployError(f"Compose {version.stdout.strip()} is too old: {_INSTALL}")
    engine = run(["docker", "version", "--format", "{{.Server.Version}}"])
    if engine.returncode != 0:
        raise DeployError(f"no Docker engine answers ({last_line(engine)}): start it, or name it in DOCKER_HOST")


def _is_too_old(version: str) -> bool:
    """A version without numbers is somebody's own build, and taken as new."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST


def _up(parsed: argparse.Namespace) -> int:
    _check_engine()
    settings = _settings(parsed)
    compose = Compose(settings, jaeger=parsed.jaeger)
    _check_ports(compose, (*PORTS, *JAEGER_PORTS) if parsed.jaeger else PORTS)
    say(PLACE, "building the images (the first time takes a minute)")
    done = compose.build()
    if done.returncode != 0:
        raise DeployError(
            f"the images cannot be built:\n{done.stderr.strip()}\n  (BASE_IMAGE names another base image)"
        )
    say(PLACE, "starting the containers, waiting until all are healthy")
    _start(compose)
    if _refresh_pods(compose):
        _start(compose)
    _print_places(compose)
    return 0


def _check_ports(compose: Compose, ports: Iterable[Port]) -> None:
    """A taken port is found before anything is changed."""
    for port, number in compose.wanted(ports).items():
        if compose.published(port) != number and _is_taken(number):
            raise DeployError(f"port {number} ({port.what}) is taken: {port.option} N takes another")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _start(compose: Compose) -> None:
    paused = [container["Service"] for container in compose.containers() if container["State"] == "paused"]
    if paused:
        compose.must("unpause", *paused)
    done = compose("up", "--detach", "--wait", "--no-build")
    if done.returncode != 0:
        raise DeployError(f"not all containers came up:\n{_what_is_wrong(compose) or done.stderr.strip()}")


def _what_is_wrong(compose: Compose) -> str:
    """The containers that are not as they should be, each with the last lines of its log."""
    lines = []
    for container in compose.containers():
        fine = container["Health"] in ("", "healthy") and container["State"] == "running"
        if not fine and (container["State"], container["ExitCode"]) != ("exited", 0):
            lines.append(f"  {container['Service']}: {container['Status']}")
            log = compose("logs", "--no-log-prefix", "--tail", "3", container["Service"])
            lines += [f"    {line}" for line in log.stdout.splitlines()]
    return "\n".join(lines)


def _refresh_pods(compose: Compose) -> bool:
    """Starts again what still lives in the network of a pod that has since been started anew; whether there was any."""
    started = _start_times(compose)
    stale = [
        service
        for service in started
        if (pod := f"{service.removesuffix('-sidecar')}-pod") in started and started[pod] > started[service]
    ]
    if stale:
        say(PLACE, f"starting again, because their network is new: {', '.join(stale)}")
        compose.must("restart", *stale)
    return bool(stale)


def _start_times(compose: Compose) -> dict[str, str]:
    """By service; the times are fit to be compared."""
    services = {container["ID"]: container["Service"] for container in compose.containers()}
    done = run(["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *services])
    times = (line.split() for line in done.stdout.splitlines())
    # RFC 3339 with as many digits as it takes: with the Z away, an earlier time sorts first.
    return {services[identity[:12]]: time.removesuffix("Z") for identity, time in times}


def _print_places(compose: Compose) -> None:
    ingress, pages = PORTS[0], PORTS[1]
    lines = [f"ingress      127.0.0.1:{compose.published(ingress)}"]
    lines += [f"trace pages  http://127.0.0.1:{compose.published(pages)}"]
    jaeger = compose.published(JAEGER_PAGES)
    lines += [f"Jaeger       http://127.0.0.1:{jaeger}"] if jaeger else []
    sys.stdout.write("".join(f"  {line}\n" for line in [*lines, "test it      ./test.sh compose"]))


def _down(parsed: argparse.Namespace) -> int:
    _check_engine()
    compose = Compose(_settings(parsed), jaeger=True)
    count = len(compose.containers())
    say(PLACE, f"removing {count} containers, their network and volumes" if count else "nothing is up")
    # Only what the file names: a container that somebody else put into the project's network stays.
    compose.must("down", "--volumes")
    deadline = time.monotonic() + _LEFTOVERS
    # Compose leaves a volume whose container the engine has not quite removed, says so, and calls it done.
    while left := compose.left():
        if time.monotonic() > deadline:
            raise DeployError(f"still there: {', '.join(left)}; see who uses them, then ./apply.sh compose down")
        time.sleep(0.5)
        compose.must("down", "--volumes")
    return 0


def _test(arguments: list[str]) -> int:
    _check_engine()
    compose = Compose({}, jaeger=True)
    ingress, pages, _, otlp = (compose.published(port) for port in PORTS)
    if ingress is None and not names_target(arguments):
        say(PLACE, "nothing is up: ./apply.sh compose brings it up")
        return 2
    otlp = compose.published(JAEGER_OTLP) or otlp
    traces = ["--traces", f"http://127.0.0.1:{pages}", "--otlp", f"http://127.0.0.1:{otlp}"] if pages and otlp else []
    way_in = [] if names_target(arguments) else ["--target", f"127.0.0.1:{ingress}"]
    return call_requester([*way_in, *traces, *arguments])
