"""From options, directory and ports to the processes that make a mesh: data, nothing is started here."""

import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from chain import topology
from grpc_tracing.backends import credentials
from grpc_tracing.calling.targets import split_host_port
from mesh.envoy import binary, nodes
from mesh.envoy.parts import Address, Fault, Json, Node, Pipe, Tcp, Tracing
from mesh.errors import MeshError
from mesh.identities import Files
from mesh.options import ADDRESSES, Options, parse_faults, parse_propagate, parse_run
from mesh.ports import HOST
from mesh.state import State
from mesh.topology import Service

# The mesh decides what begins so; any other TALK_ variable (logs, records, grace, …) comes from our own environment.
WIRING = (
    "TALK_CONFIG",
    "TALK_NAME",
    "TALK_VERSION",
    "TALK_INSTANCE",
    "TALK_LISTEN",
    "TALK_NEXT_",
    "TALK_ALSO_CALL",
    "TALK_JOBS",
    "TALK_PROPAGATE",
    "TALK_TLS_",
)

STORE = "traces"

ROOT = Path(__file__).parent.parent
"""The folder that holds our packages."""


@dataclass(frozen=True)
class Workload:
    """One instance of a service, with its sidecar if there are any."""

    name: str
    service: str
    version: str = "v1"

    @property
    def sidecar(self) -> str:
        return f"{self.name}-sidecar"


@dataclass(frozen=True)
class Ports:
    """All on 127.0.0.1; inbound by workload; None where there is no trace store.

    app and out, by workload: where an app on TCP listens, and where it calls its sidecar.
    """

    entry: int
    inbound: dict[str, int]
    app: dict[str, int] = field(default_factory=dict)
    out: dict[str, int] = field(default_factory=dict)
    pages: int | None = None
    otlp_grpc: int | None = None
    otlp_http: int | None = None


@dataclass(frozen=True)
class Probe:
    """How to tell that a process answers: gRPC health, an accepted connection, Envoy's admin socket, an HTTP page."""

    kind: Literal["health", "listens", "envoy", "http"]
    target: str


@dataclass(frozen=True)
class Process:
    """What to start, and in which folder. Higher tiers stop later; the sockets are files that it makes."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    tier: int
    environment: dict[str, str] = field(default_factory=dict)
    sockets: tuple[Path, ...] = ()
    folder: Path = ROOT


@dataclass(frozen=True)
class Plan:
    """Processes in the order of starting, and Envoy's configurations by the file that they are to stand in."""

    processes: tuple[Process, ...]
    configurations: dict[Path, Json]


def workloads(options: Options) -> tuple[Workload, ...]:
    found = [
        Workload(service if number == 1 else f"{service}-{number}", service)
        for service in options.graph.services
        for number in range(1, options.replicas_of(service) + 1)
    ]
    lane = topology.CANARY
    if options.mesh and options.shop is None and lane.service in options.graph.services:
        found.append(Workload(f"{lane.service}-{lane.version}", lane.service, lane.version))
    return tuple(found)


def entry_name(options: Options) -> str:
    """The process that listens on the public port."""
    return topology.INGRESS if options.mesh else options.graph.first


def on_tcp(options: Options) -> tuple[str, ...]:
    """The workloads that listen on TCP in place of a Unix socket: without sidecars also those that such a one calls."""
    services = set(options.on_tcp)
    if not options.mesh:
        services |= {following for service in services if (following := options.graph.next_hop(service))}
        services.discard(options.graph.first)  # it has the public port
    return tuple(one.name for one in workloads(options) if one.service in services)


def plan(options: Options, state: State, ports: Ports) -> Plan:
    if not options.mesh:
        return Plan(tuple(_bare_service(options, state, ports, workload) for workload in workloads(options)), {})
    return _Meshed(options, state, ports).plan()


class _Meshed:
    """The plan of a mesh with Envoys."""

    def __init__(self, options: Options, state: State, ports: Ports) -> None:
        self.options = options
        self.state = state
        self.ports = ports
        self.envoy = Path(options.envoy) if options.envoy else binary.find()
        self.faults = parse_faults(options.faults, options.graph)
        self.workloads = workloads(options)
        self.graph = options.graph

    def plan(self) -> Plan:
        store = (_store(self.ports, self.options),) if self.options.has_store else ()
        services = tuple(self._service(workload) for workload in self.workloads)
        configurations = {topology.INGRESS: self._ingress()}
        configurations |= {workload.sidecar: self._sidecar(workload) for workload in self.workloads}
        envoys = tuple(self._envoy(name) for name in configurations)
        return Plan(
            (*store, *services, *envoys), {self._config_file(name): json for name, json in configurations.items()}
        )

    def _service(self, workload: Workload) -> Process:
        outs = {callee: _target(self._out(workload, callee)) for callee in self.graph.next_hops(workload.service)}
        if self.options.shop:
            asked = self.options.shop.services[workload.service]
            return _shop_service(self.options, self.ports, workload, self._app(workload), asked=asked, outs=outs)
        following = self.graph.next_hop(workload.service)
        target = outs[following] if following else "none"
        return _talk(self.options, self.ports, workload, self._app(workload), target, tier=1)

    def _app(self, workload: Workload) -> Address:
        return _listening(self.state, self.ports, workload.name)

    def _out(self, workload: Workload, callee: str) -> Address:
        """Where the app calls its sidecar to reach a service."""
        if port := self.ports.out.get(workload.name):
            return Tcp(HOST, port)
        number = self.graph.next_hops(workload.service).index(callee)
        return Pipe(str(self.state.socket(workload.name, f"out{number}" if number else "out")))

    def _envoy(self, name: str) -> Process:
        admin = self.state.socket(name, "adm")
        command = binary.command(self.envoy, self._config_file(name))
        outs = self._outs(name.removesuffix("-sidecar"))
        tier = 0 if name == topology.INGRESS else 1
        return Process(name, tuple(command), Probe("envoy", str(admin)), tier, sockets=(admin, *outs))

    def _outs(self, name: str) -> tuple[Path, ...]:
        """The sockets at which a workload's app calls its sidecar."""
        found = [workload for workload in self.workloads if workload.name == name]
        outs = [self._out(one, callee) for one in found for callee in self.graph.next_hops(one.service)]
        return tuple(Path(out.path) for out in outs if isinstance(out, Pipe))

    def _config_file(self, name: str) -> Path:
        return self.state.envoy / f"{name}.yaml"

    def _ingress(self) -> Json:
        first = self.graph.first
        node = self._node(topology.INGRESS, topology.INGRESS, "v1", label=f"{topology.INGRESS} -> {first}")
        return nodes.ingress(node, Tcp(HOST, self.ports.entry), self._inbounds(first))

    def _sidecar(self, workload: Workload) -> Json:
        return nodes.sidecar(
            self._node(workload.sidecar, workload.service, workload.version, label=f"{workload.name}'s sidecar"),
            inbound=self._inbound(workload),
            app=(self._app(workload),),
            outbounds=tuple(self._outbound(workload, callee) for callee in self.graph.next_hops(workload.service)),
            faults=self._faults(workload),
        )

    def _outbound(self, workload: Workload, callee: str) -> nodes.Outbound:
        lane = topology.CANARY
        return nodes.Outbound(
            callee,
            listen=self._out(workload, callee),
            upstream=self._inbounds(callee),
            canary=self._inbounds(lane.service, lane.version) if callee == lane.service else (),
        )

    def _node(self, name: str, account: str, version: str, label: str) -> Node:
        return Node(
            name=name,
            service=account,
            version=version,
            admin=Pipe(str(self.state.socket(name, "adm"))),
            identity=Files.of(self.state.identities, account) if self.options.mtls else None,
            tracing=self._tracing(),
            access_log=self.options.access_log,
            graph=self.graph,
            label=label,
        )

    def _inbound(self, workload: Workload) -> Address:
        return Tcp(HOST, self.ports.inbound[workload.name])

    def _inbounds(self, service: str, version: str = "v1") -> tuple[Address, ...]:
        return tuple(self._inbound(w) for w in self.workloads if (w.service, w.version) == (service, version))

    def _faults(self, workload: Workload) -> tuple[Fault, ...]:
        delay = self.options.shop.services[workload.service].delay if self.options.shop else 0.0
        own = (Fault(100, delay=delay),) if delay else ()
        return (*own, *self.faults.get(workload.service, ()))

    def _tracing(self) -> Tracing | None:
        if self.options.has_spans and not self.options.store and self.options.collector:
            return self._to_collector(self.options.collector)
        zipkin = self.options.tracer == "zipkin"
        port = self.ports.otlp_http if zipkin else self.ports.otlp_grpc
        if port is None:
            return None
        options = self.options
        return Tracing(Tcp(HOST, port), zipkin, batches=options.batch_spans, percent=options.sampling)

    def _to_collector(self, address: str) -> Tracing:
        """Straight to the user's own backend."""
        options = self.options
        host, port = split_host_port(address, lowest=1)
        return Tracing(
            Tcp(host.strip("[]"), port),
            batches=options.batch_spans,
            percent=options.sampling,
            ca=options.collector_ca or (_own_cas() if options.collector_tls else None),
            headers=_collector_headers(options),
        )


def _own_cas() -> str:
    """The file with the CAs that this machine trusts."""
    file = ssl.get_default_verify_paths().cafile
    if not file:
        raise MeshError("--collector-tls: this machine has no file of CAs: name one with --collector-ca FILE")
    return file


def _collector_headers(options: Options) -> credentials.Headers:
    """MeshError where they are written wrongly; it shows none of them."""
    try:
        if options.collector_headers:
            return credentials.header_lines(Path(options.collector_headers))
        return credentials.from_environment(os.environ)
    except ValueError as error:
        raise MeshError(f"--collector-headers: {error}") from None


def _bare_service(options: Options, state: State, ports: Ports, workload: Workload) -> Process:
    """Without Envoys: the first service on the public port, the others on Unix sockets that only we may open."""
    first = workload.service == options.graph.first
    listen = Tcp(HOST, ports.entry) if first else _listening(state, ports, workload.name)
    following = options.graph.next_hop(workload.service)
    target = _target(_listening(state, ports, following)) if following else "none"
    # A caller stops before the one it calls: calls in flight finish.
    tier = options.graph.services.index(workload.service)
    return _talk(options, ports, workload, listen, target, tier=tier)


def _listening(state: State, ports: Ports, workload: str) -> Address:
    """Where an app listens."""
    port = ports.app.get(workload)
    return Tcp(HOST, port) if port else Pipe(str(state.socket(workload, "app")))


def _target(where: Address) -> str:
    """As gRPC writes it."""
    return f"unix:{where.path}" if isinstance(where, Pipe) else f"{where.host}:{where.port}"


def _filled(command: tuple[str, ...], listen: str, next_hop: str) -> tuple[str, ...]:
    """The command with addresses in the place of what stands for them."""
    values = dict(zip(ADDRESSES, (*listen.rsplit(":", 1), *next_hop.rsplit(":", 1)), strict=False))
    filled = []
    for word in command:
        for name, value in values.items():
            word = word.replace(name, value)  # noqa: PLW2901 - one after the other
        filled.append(word)
    return tuple(filled)


def _talk(options: Options, ports: Ports, workload: Workload, where: Address, next_hop: str, *, tier: int) -> Process:
    listen = _target(where)
    sockets = (Path(where.path),) if isinstance(where, Pipe) else ()
    environment = _environment(ports, workload, listen, next_hop)
    if following := options.graph.next_hop(workload.service):
        environment["TALK_NEXT_NAME"] = following
    propagate = parse_propagate(options.propagate, options.graph).get(workload.service)
    if propagate is not None:
        environment["TALK_PROPAGATE"] = propagate
    if foreign := parse_run(options.run, options.graph).get(workload.service):
        environment["PYTHONSAFEPATH"] = ""  # our scripts set it for our own programs
        probe = Probe("listens", listen)  # not every hop serves gRPC's health
        if workload.service in options.on_tcp:
            foreign = _filled(foreign, listen, next_hop)
        return Process(workload.name, foreign, probe, tier, environment, sockets, Path(options.run_folder or ROOT))
    module = workload.service
    if module not in topology.DEFAULT.services:
        module = "talk"
        environment["TALK_PROPAGATE_ALSO"] = ",".join(topology.PROPAGATE_ALSO)
    command = (sys.executable, "-m", module)
    return Process(workload.name, command, Probe("health", listen), tier, environment, sockets)


def _environment(ports: Ports, workload: Workload, listen: str, next_hop: str) -> dict[str, str]:
    environment = {
        "TALK_NAME": workload.service,
        "TALK_INSTANCE": workload.name,
        "TALK_LISTEN": listen,
        "TALK_NEXT_HOP": next_hop,
        "TALK_DRAIN_PAUSE": os.environ.get("TALK_DRAIN_PAUSE", "0s"),  # no load balancer has to notice first
    }
    if ports.otlp_http and "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:  # an SDK's spans go where the sidecars' go
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{HOST}:{ports.otlp_http}"
    if workload.version != "v1":
        environment["TALK_VERSION"] = workload.version
    return environment


def _shop_service(
    options: Options, ports: Ports, workload: Workload, where: Address, *, asked: Service, outs: Mapping[str, str]
) -> Process:
    """A service of --topology; `outs`: where it calls its sidecar to reach each service."""
    listen = _target(where)
    first, *others = asked.calls or (None,)
    environment = _environment(ports, workload, listen, outs[first] if first else "none")
    environment["TALK_PROPAGATE_ALSO"] = ",".join(topology.PROPAGATE_ALSO)
    if first:
        environment["TALK_NEXT_NAME"] = first
        environment["TALK_ALSO_CALL"] = ",".join(f"{name}={outs[name]}" for name in others)
    environment["TALK_JOBS"] = ",".join(f"{outs[job.calls]} every {job.every:.9f}s" for job in asked.jobs)
    mended = parse_propagate(options.propagate, options.graph).get(workload.service)
    environment["TALK_PROPAGATE"] = mended or asked.propagate
    by_rpc = {} if mended else asked.by_rpc
    environment["TALK_PROPAGATE_BY_RPC"] = ",".join(f"{rpc}={rule.replace(',', '+')}" for rpc, rule in by_rpc.items())
    sockets = (Path(where.path),) if isinstance(where, Pipe) else ()
    command = (sys.executable, "-m", "talk")
    return Process(workload.name, command, Probe("health", listen), 1, environment, sockets)


def _store(ports: Ports, options: Options) -> Process:
    asked = {
        "--tail": f"{options.tail:.9f}s" if options.tail else None,
        "--max-traces": options.max_traces,
        "--max-bytes": options.max_bytes and f"{options.max_bytes // 1024}KiB",
    }
    command = (
        *(sys.executable, "-m", "grpc_tracing", "store"),
        *("--http", f"{HOST}:{ports.pages}"),
        *("--otlp-grpc", f"{HOST}:{ports.otlp_grpc}"),
        *("--otlp-http", f"{HOST}:{ports.otlp_http}"),
        *(word for option, value in asked.items() if value is not None for word in (option, str(value))),
    )
    # Last: the Envoys' last spans are still to come.
    probe = Probe("http", f"http://{HOST}:{ports.pages}/api/v3/services")
    return Process(STORE, (*command, *_forward(options)), probe, tier=2, environment=_forward_headers(options))


def _forward(options: Options) -> tuple[str, ...]:
    """The store's options that pass the spans on."""
    if not options.collector:
        return ()
    tls = options.collector_tls or options.collector_ca
    ca = ("--forward-ca", options.collector_ca) if options.collector_ca else ()
    return ("--forward", f"{'grpcs' if tls else 'grpc'}://{options.collector}", *ca)


def _forward_headers(options: Options) -> dict[str, str]:
    """In a variable: no list of processes shows it."""
    headers = _collector_headers(options) if options.collector else ()
    pairs = ",".join(f"{quote(key)}={quote(value)}" for key, value in headers)
    return {credentials.VARIABLES[0]: pairs} if pairs else {}
