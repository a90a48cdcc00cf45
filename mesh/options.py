"""What a mesh can be asked to be, as the command line says it."""

import argparse
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from chain import topology
from chain.topology import Graph
from grpc_tracing.arguments import checked
from grpc_tracing.calling import targets
from grpc_tracing.values import count, positive_duration, store_size
from mesh.envoy.parts import Fault
from mesh.errors import MeshError
from mesh.topology import Topology
from mesh.topology import parse as parse_topology

_HOPS = f"{topology.FEWEST_HOPS} to {topology.MOST_HOPS}"

ADDRESSES: Final = ("{host}", "{port}", "{next_host}", "{next_port}")
"""What --run fills in, for a hop that knows TCP alone."""

Tracer = Literal["otlp", "zipkin", "none"]


@dataclass(frozen=True)
class Options:
    """Each field is an option of `up`; the texts of propagate, faults and run are kept as they were given.

    topology: the text of the file.

    max_traces, max_bytes: of the store; None for its own.

    collector: HOST:PORT of an OTLP backend that gets the spans too, or alone where store is False; collector_ca and
    collector_headers are files.

    run_folder: where the commands of run are started; None for the folder that holds our packages.
    """

    port: int = topology.INGRESS_PORT
    pages_port: int = topology.PAGES_PORT
    otlp_grpc_port: int = topology.OTLP_GRPC_PORT
    otlp_http_port: int = topology.OTLP_HTTP_PORT
    hops: int = len(topology.DEFAULT.services)
    topology: str | None = None
    replicas: int = 1
    mesh: bool = True
    mtls: bool = True
    tracer: Tracer = "otlp"
    sampling: float = 100.0
    tail: float = 0.0
    max_traces: int | None = None
    max_bytes: int | None = None
    collector: str | None = None
    collector_tls: bool = False
    collector_ca: str | None = None
    collector_headers: str | None = None
    store: bool = True
    propagate: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    batch_spans: bool = False
    access_log: bool = False
    envoy: str | None = None
    run_folder: str | None = None

    def __post_init__(self) -> None:
        """MeshError for what does not go together."""
        if not topology.FEWEST_HOPS <= self.hops <= topology.MOST_HOPS:
            raise MeshError(f"--hops {self.hops}: write {_HOPS}")
        parse_propagate(self.propagate, self.graph)
        parse_faults(self.faults, self.graph)
        for service, command in parse_run(self.run, self.graph).items():
            if self.graph.next_hop(service) is None and "{next_" in " ".join(command):
                raise MeshError(f"--run {service}: it is the last hop and calls nobody: leave {{next_port}} out")
        needs_mesh = {
            "--replicas": self.replicas > 1,
            "--faults": bool(self.faults),
            "--no-mtls": not self.mtls,
            "--access-log": self.access_log,
            "--topology": self.topology is not None,
        }
        for option, given in needs_mesh.items():
            if given and not self.mesh:
                raise MeshError(f"{option} needs Envoys: leave it out, or leave --no-mesh out")
        if self.topology is not None and (self.run or self.replicas > 1 or self.hops != Options.hops):
            raise MeshError("--topology says which services there are: leave --hops, --replicas and --run out")
        self._check_spans()
        self._check_collector()
        if self.sampling < 100 and self.tracer == "zipkin":
            raise MeshError("--sampling needs --tracer otlp: Envoy's Zipkin tracer samples by the request id alone")

    def _check_spans(self) -> None:
        needs_store = {
            "--tail": bool(self.tail),
            "--max-traces": self.max_traces is not None,
            "--max-bytes": self.max_bytes is not None,
        }
        needs_spans = {"--sampling": self.sampling < 100, "--collector": self.collector is not None}
        for option, given in (needs_spans | needs_store).items():
            if given and not self.has_spans:
                raise MeshError(f"{option} needs spans: leave it out, or --no-mesh and --tracer none")
            if given and option in needs_store and not self.store:
                raise MeshError(f"{option} is the trace store's: leave it out, or --no-store")

    def _check_collector(self) -> None:
        needs_collector = {
            "--collector-tls": self.collector_tls,
            "--collector-ca": self.collector_ca is not None,
            "--collector-headers": self.collector_headers is not None,
            "--no-store": not self.store,
        }
        for option, given in needs_collector.items():
            if given and self.collector is None:
                raise MeshError(f"{option} needs --collector HOST:PORT")
        if not self.store and self.tracer == "zipkin":
            raise MeshError("--no-store needs --tracer otlp: a collector takes OTLP")

    @cached_property
    def shop(self) -> Topology | None:
        """What the file of --topology says."""
        return None if self.topology is None else parse_topology(self.topology)

    @property
    def graph(self) -> Graph:
        return self.shop.graph if self.shop else topology.of_length(self.hops)

    def replicas_of(self, service: str) -> int:
        return self.shop.services[service].replicas if self.shop else self.replicas

    @property
    def on_tcp(self) -> tuple[str, ...]:
        """The services that --run replaces by a hop that knows TCP alone."""
        commands = parse_run(self.run, self.graph).items()
        return tuple(service for service, command in commands if any(one in " ".join(command) for one in ADDRESSES))

    @property
    def has_spans(self) -> bool:
        """Sidecars make them."""
        return self.mesh and self.tracer != "none"

    @property
    def has_store(self) -> bool:
        """Without spans there is nothing to store."""
        return self.has_spans and self.store


def add_to(parser: argparse.ArgumentParser) -> None:
    """Every field of Options; what is not given does not appear in the result."""
    add = parser.add_argument_group("the mesh", argument_default=argparse.SUPPRESS).add_argument
    for option, default, what in (
        ("--port", topology.INGRESS_PORT, "the ingress"),
        ("--pages-port", topology.PAGES_PORT, "trace pages and query API"),
        ("--otlp-grpc-port", topology.OTLP_GRPC_PORT, "spans by OTLP over gRPC"),
        ("--otlp-http-port", topology.OTLP_HTTP_PORT, "spans by OTLP over HTTP, and Zipkin's"),
    ):
        add(option, type=_port, metavar="PORT", help=f"{what}, on 127.0.0.1; 0: any free one [{default}]")
    add(
        "--topology",
        type=_topology,
        metavar="FILE",
        help="services, who calls whom and what each forwards, in YAML, in place of a chain",
    )
    add("--hops", type=_hops, metavar="N", help=f"how many services: {_HOPS} [{len(topology.DEFAULT.services)}]")
    add("--replicas", type=_replicas, metavar="N", help="of each service, with a sidecar each [1]")
    add("--no-mesh", dest="mesh", action="store_false", help="no Envoys: the three services alone")
    add("--no-mtls", dest="mtls", action="store_false", help="plaintext between sidecars: no identities, no denial")
    add("--tracer", choices=("otlp", "zipkin", "none"), help="what the Envoys trace with [otlp]")
    add("--sampling", type=_percent, metavar="PERCENT", help="of the traces that begin at an Envoy are kept [100]")
    add(
        "--tail",
        type=checked(positive_duration),
        metavar="TIME",
        help="the store shows a trace so long after its first span [0s]",
    )
    add("--max-traces", type=checked(count), metavar="N", help="traces that the store keeps [its own]")
    add(
        "--max-bytes",
        type=checked(store_size),
        metavar="SIZE",
        help="memory for the store's spans, such as 512MiB [its own]",
    )
    add(
        "--collector",
        type=_host_and_port,
        metavar="HOST:PORT",
        help="pass the spans on to this backend too, by OTLP over gRPC",
    )
    add("--collector-tls", action="store_true", help="by TLS, trusting this machine's CAs")
    add("--collector-ca", type=_file, metavar="FILE", help="by TLS, trusting this CA")
    add(
        "--collector-headers",
        type=_file,
        metavar="FILE",
        help="headers that go with them, one a line: 'Authorization: Bearer …' [OTEL_EXPORTER_OTLP_HEADERS]",
    )
    add("--no-store", dest="store", action="store_false", help="to that backend alone: no trace store, no pages")
    add("--propagate", action="append", metavar="SERVICE=WHAT", help="TALK_PROPAGATE of a service, such as svc2=none")
    add(
        "--faults",
        action="append",
        metavar="SERVICE=FAULT",
        help="at its sidecar: svc3=abort:UNAVAILABLE:50%% or svc2=delay:200ms:10%%",
    )
    add(
        "--run",
        action="append",
        metavar="SERVICE=COMMAND",
        help="a hop of your own in a service's place: it listens on TALK_LISTEN and calls TALK_NEXT_HOP,"
        " Unix sockets, or TCP where the command says {host} and {port}, {next_host} and {next_port}",
    )
    add("--batch-spans", action="store_true", help="spans cost less and the last ones may be lost: for benchmarks")
    add("--access-log", action="store_true", help="a line per request in each Envoy's log")
    add("--envoy", type=_program, metavar="PATH", help="an Envoy other than the installed one")


def given_in(parsed: argparse.Namespace) -> dict[str, Any]:
    """The fields of Options that the command line named, and the folder that it was typed in where that matters."""
    found = {name: value for name, value in vars(parsed).items() if name in Options.__dataclass_fields__}
    if "run" in found:
        found["run_folder"] = str(Path.cwd())  # what the commands name is the user's
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def parse_propagate(texts: tuple[str, ...], graph: Graph = topology.DEFAULT) -> dict[str, str]:
    """TALK_PROPAGATE by service; what is wrong with the right side only the service knows."""
    return dict(_by_service("--propagate", text, graph) for text in texts)


def parse_run(texts: tuple[str, ...], graph: Graph = topology.DEFAULT) -> dict[str, tuple[str, ...]]:
    """The command to run in a service's place, by service."""
    pairs = [_by_service("--run", text, graph) for text in texts]
    try:
        commands = {service: tuple(shlex.split(command)) for service, command in pairs}
    except ValueError as error:
        raise MeshError(f"--run: {str(error).lower()}: quote the command as a shell wants it") from error
    if empty := [service for service, command in commands.items() if not command]:
        raise MeshError(f"--run {empty[0]}=: write the command to run in its place")
    return commands


def parse_faults(texts: tuple[str, ...], graph: Graph = topology.DEFAULT) -> dict[str, tuple[Fault, ...]]:
    """Faults by service, in the order given."""
    faults: dict[str, tuple[Fault, ...]] = {}
    for text in texts:
        service, fault = _by_service("--faults", text, graph)
        faults[service] = (*faults.get(service, ()), _fault(fault))
    return faults


def _by_service(option: str, text: str, graph: Graph) -> tuple[str, str]:
    service, equals, value = text.partition("=")
    if service not in graph.services or not equals or not value:
        raise MeshError(f"{option} {text}: begin with {', '.join(f'{name}=' for name in graph.services)}")
    return service, value


def _fault(text: str) -> Fault:
    match = re.fullmatch(r"(abort|delay):([^:]+):(\d{1,3}(?:\.\d{1,4})?)%", text)
    if not match or float(match[3]) > 100:
        raise MeshError(f"--faults {text}: write abort:STATUS:PERCENT% or delay:TIME:PERCENT%, as delay:200ms:10%")
    kind, value, percent = match.groups()
    if kind == "abort":
        return Fault(float(percent), status=_status(value))
    return Fault(float(percent), delay=_delay(value))


def _status(name: str) -> int:
    # Late: most commands have no use for gRPC, which takes its time to load.
    from grpc import StatusCode  # noqa: PLC0415

    if name not in StatusCode.__members__ or name == "OK":
        raise MeshError(f"--faults: {name} is no gRPC status that a call can fail with: write UNAVAILABLE, for example")
    code: int = StatusCode[name].value[0]
    return code


def _delay(text: str) -> float:
    try:
        return positive_duration(text)
    except ValueError as error:
        raise MeshError(f"--faults: {error}") from None


def _program(text: str) -> str:
    """A path means the same in the supervisor's folder as in the user's; a name is looked for on PATH."""
    return str(Path(text).absolute()) if "/" in text else text


def _host_and_port(text: str) -> str:
    try:
        targets.split_host_port(text, lowest=1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _file(text: str) -> str:
    """The path, which means the same in the supervisor's folder; of what is in it nothing is shown."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return str(Path(text).absolute())


def _topology(file: str) -> str:
    """The text of a file that can be read as a topology."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        parse_topology(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    except (MeshError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{file}: {error}") from None
    return text


def _percent(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?", text) or not 0 < float(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage above 0, such as 10 or 0.5")
    return float(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _hops(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {_HOPS}")
    return int(text)


def _replicas(text: str) -> int:
    if not re.fullmatch(r"[1-9]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 9")
    return int(text)
