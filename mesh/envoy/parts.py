"""The pieces that every Envoy configuration here is put together from, as the plain data that YAML is written from."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Final

from chain import topology
from chain.topology import Graph
from mesh.identities import Files

Json = dict[str, Any]

_TYPES = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Pipe:
    """A Unix socket."""

    path: str


@dataclass(frozen=True)
class Tcp:
    """A host name or IP address, and a port."""

    host: str
    port: int

    @property
    def is_name(self) -> bool:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False


Address = Pipe | Tcp


@dataclass(frozen=True)
class Tracing:
    """Where spans go. Batches cost less per call, and the last ones are lost when Envoy stops.

    `percent` of the traces that begin here are sampled; one that comes in keeps its decision. `ca`, a file, makes the
    connection a TLS one; `headers` go with each export.
    """

    collector: Address
    zipkin: bool = False
    batches: bool = False
    percent: float = 100.0
    ca: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a share of the calls: a gRPC status in place of an answer, or a delay in seconds."""

    percent: float
    status: int | None = None
    delay: float | None = None


@dataclass(frozen=True)
class Node:
    """What every Envoy of the mesh needs to know of itself. No identity: plaintext; no tracing: no spans."""

    name: str
    service: str
    admin: Address
    version: str = "v1"
    identity: Files | None = None
    tracing: Tracing | None = None
    access_log: bool = False
    graph: Graph = topology.DEFAULT
    label: str = field(default="", kw_only=True)  # how its own error messages begin; by default its name

    @property
    def spoken_name(self) -> str:
        return self.label or self.name


def typed(kind: str, **fields: object) -> Json:
    """A `typed_config`: kind is the message's full name without the leading `envoy.`."""
    return {"@type": f"{_TYPES}.{kind}", **fields}


def address(where: Address) -> Json:
    if isinstance(where, Pipe):
        return {"pipe": {"path": where.path}}
    return {"socket_address": {"address": where.host, "port_value": where.port}}


def percentage(percent: float) -> Json:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def bootstrap(node: Node, listeners: list[Json], clusters: list[Json], *, strangers: bool = False) -> Json:
    """A whole configuration; strangers: anyone may call, not only neighbours."""
    return {
        # The Zipkin tracer names its service after the cluster.
        "node": {"id": node.name, "cluster": node.service},
        "admin": {"address": address(node.admin), "ignore_global_conn_limit": True},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _runtime(node.tracing, strangers)}]},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {"listeners": listeners, "clusters": clusters + _collectors(node.tracing)},
    }


def _runtime(tracing: Tracing | None, strangers: bool) -> Json:
    runtime: Json = {}
    if not strangers:
        # A neighbour passes on the resets of many callers: cutting its connection would strike all the others.
        runtime["overload.premature_reset_total_stream_count"] = 2**32
    if tracing and not tracing.batches:
        # Else spans wait for others to keep them company, and are lost at SIGTERM.
        runtime |= {"tracing.opentelemetry.min_flush_spans": 1, "tracing.zipkin.min_flush_spans": 1}
    return runtime


MOST_CONNECTIONS: Final = 4000
"""From callers: an Envoy says how it is, and takes what its own app sends, however many there are."""


def _connection_limit() -> Json:
    name = "envoy.resource_monitors.global_downstream_max_connections"
    kind = "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {"name": name, "typed_config": typed(kind, max_active_downstream_connections=MOST_CONNECTIONS)}


def listener(name: str, where: Address, direction: str, manager: Json, tls: Json | None = None) -> Json:
    """direction: INBOUND makes SERVER spans, OUTBOUND makes CLIENT spans."""
    network_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    chain: Json = {"filters": [network_filter], "transport_socket_connect_timeout": "10s"}
    if tls:
        chain["transport_socket"] = tls
    return {"name": name, "address": address(where), "traffic_direction": direction, "filter_chains": [chain]}


def manager(node: Node, name: str, routes: list[Json], filters: list[Json], **more: object) -> Json:
    """An HTTP connection manager; name is the first part of its statistics."""
    kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    settings: Json = {
        "stat_prefix": name,
        "stream_idle_timeout": "0s",  # the default of 5 min kills quiet streams
        "request_id_extension": {"typed_config": _request_ids()},
        "http2_protocol_options": _http2(),
        "local_reply_config": _own_errors(node),
        "http_filters": [*filters, _router()],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    if node.tracing:
        settings["tracing"] = _tracing(node, node.tracing)
    if node.access_log:
        settings["access_log"] = [_access_log()]
    return typed(kind, **(settings | more))


def _request_ids() -> Json:
    # By default an x-request-id that is no UUID switches tracing off, and one digit of a UUID is rewritten.
    return typed(
        "extensions.request_id.uuid.v3.UuidRequestIdConfig",
        pack_trace_reason=False,
        use_request_id_for_trace_sampling=False,
    )


def _http2() -> Json:
    return {
        # Small windows keep a slow reader's unread messages with the writer: the defaults let each hop hold megabytes.
        "initial_stream_window_size": 256 * 1024,
        "initial_connection_window_size": 1024 * 1024,
        # gRPC's core answers a frame of many small messages with a window update for each: by default (10) Envoy takes
        # that for a flood, and cuts the connection with every call on it.
        "max_inbound_window_update_frames_per_data_frame_sent": 1000,
    }


def _own_errors(node: Node) -> Json:
    """Envoy's own words name nobody: put the name of this Envoy in front."""
    text = f"{node.spoken_name}: %LOCAL_REPLY_BODY%"
    return {"body_format": {"text_format_source": {"inline_string": text}}}


def _router() -> Json:
    return {"name": "envoy.filters.http.router", "typed_config": typed("extensions.filters.http.router.v3.Router")}


def _access_log() -> Json:
    kind = "extensions.access_loggers.stream.v3.StdoutAccessLog"
    return {"name": "envoy.access_loggers.stdout", "typed_config": typed(kind)}


def route(
    cluster: str, *, authority: str | None = None, headers: list[Json] | None = None, retry: Json | None = None
) -> Json:
    # No timeout of its own: the default of 15 s beats longer deadlines, which travel in grpc-timeout.
    action: Json = {"cluster": cluster, "timeout": "0s"}
    if authority:
        action["host_rewrite_literal"] = authority
    if retry:
        action["retry_policy"] = retry
    return {"match": {"prefix": "/", "headers": [_OF_A_METHOD, *(headers or [])]}, "route": action}


_OF_A_METHOD: Final[Json] = {"name": ":path", "string_match": {"safe_regex": {"regex": r"/[\w.]+/\w+"}}}
"""Exactly /package.Service/Method: a route's own match leaves the query out.

A path that is no UTF-8 ends the accept loop of a grpc.aio server (grpcio 1.84 and 1.85).
"""


def refusal(status: int, text: str, headers: list[Json] | None = None) -> Json:
    """The route of what no route before it takes; gRPC callers get the status that belongs to HTTP's."""
    match: Json = {"prefix": "/", "headers": headers or []}
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": text}}}


def cluster(name: str, addresses: tuple[Address, ...], tls: Json | None = None, *, http2: bool = True) -> Json:
    """Where a route leads; more than one address: round robin, and one that fails rests for a second."""
    result: Json = {
        "name": name,
        "connect_timeout": "1s",
        "type": "STRICT_DNS" if any(isinstance(a, Tcp) and a.is_name for a in addresses) else "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [_endpoint(a) for a in addresses]}]},
        # By default only three retries may be under way at once, and the other failed calls stay failed.
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
    }
    if http2:  # without it Envoy speaks HTTP/1.1 to a gRPC server
        options = typed(_HTTP_OPTIONS.removeprefix("envoy."), explicit_http_config={"http2_protocol_options": _http2()})
        result["typed_extension_protocol_options"] = {_HTTP_OPTIONS: options}
    if tls:
        result["transport_socket"] = tls
    if len(addresses) > 1:
        result["outlier_detection"] = _rest_after_failure()
        # By default Envoy goes on calling what it has just put to rest: updates wait for others, up to a second.
        result["common_lb_config"] = {"update_merge_window": "0s"}
    return result


def _endpoint(where: Address) -> Json:
    return {"endpoint": {"address": address(where)}}


def _rest_after_failure() -> Json:
    return {
        "consecutive_gateway_failure": 1,
        "enforcing_consecutive_gateway_failure": 100,
        "interval": "0.5s",
        "base_ejection_time": "1s",
        "max_ejection_time": "1s",
        "max_ejection_percent": 100,
    }


def _collectors(tracing: Tracing | None) -> list[Json]:
    if tracing is None:
        return []
    tls = _to_stranger(tracing.collector, tracing.ca) if tracing.ca and isinstance(tracing.collector, Tcp) else None
    collector = cluster("traces", (tracing.collector,), tls, http2=not tracing.zipkin)
    if not tracing.zipkin:
        # Spans wait for a store that hangs; by default they open connection after connection, which stay for an hour.
        collector["circuit_breakers"] = {"thresholds": [{"max_connections": 1}]}
    return [collector]


def _tracing(node: Node, tracing: Tracing) -> Json:
    settings: Json = {
        # Of no effect at less than 100 where the request id has no say in sampling (Envoy 1.40): _sampler decides.
        "random_sampling": {"value": 100},
        "operation": "%REQ(:PATH)%",
        "provider": _zipkin() if tracing.zipkin else _opentelemetry(node, tracing),
    }
    if tracing.zipkin:
        settings["custom_tags"] = [{"tag": k, "literal": {"value": v}} for k, v in _resource(node).items()]
    return settings


def _opentelemetry(node: Node, tracing: Tracing) -> Json:
    kind = "extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig"
    detector = {
        "name": "envoy.tracers.opentelemetry.resource_detectors.static_config",
        "typed_config": typed(kind, attributes=_resource(node)),
    }
    service: Json = {"envoy_grpc": {"cluster_name": "traces"}, "timeout": "0.5s"}
    if tracing.headers:
        service["initial_metadata"] = [{"key": key.lower(), "value": value} for key, value in tracing.headers]
    config = typed(
        "config.trace.v3.OpenTelemetryConfig",
        grpc_service=service,
        service_name=node.service,
        resource_detectors=[detector],
        **({"sampler": _sampler(tracing.percent)} if tracing.percent < 100 else {}),
    )
    return {"name": "envoy.tracers.opentelemetry", "typed_config": config}


def _sampler(percent: float) -> Json:
    """A trace that begins here is kept by its id, one that comes in by the decision that came with it."""
    kind = "extensions.tracers.opentelemetry.samplers.v3"
    by_id = {
        "name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "typed_config": typed(f"{kind}.TraceIdRatioBasedSamplerConfig", sampling_percentage=percentage(percent)),
    }
    by_parent = typed(f"{kind}.ParentBasedSamplerConfig", wrapped_sampler=by_id)
    return {"name": "envoy.tracers.opentelemetry.samplers.parent_based", "typed_config": by_parent}


def _zipkin() -> Json:
    config = typed(
        "config.trace.v3.ZipkinConfig",
        collector_cluster="traces",
        collector_endpoint="/api/v2/spans",
        collector_endpoint_version="HTTP_JSON",
        collector_hostname="traces",
        trace_id_128bit=True,
        shared_span_context=False,  # else a caller's and a callee's span have one id
        # Else the hops see a traceparent that never changes beside a B3 trace that does.
        trace_context_option="USE_B3_WITH_W3C_PROPAGATION",
    )
    return {"name": "envoy.tracers.zipkin", "typed_config": config}


def _resource(node: Node) -> dict[str, str]:
    return {
        "service.namespace": topology.NAMESPACE,
        "service.version": node.version,
        "service.instance.id": node.name,
    }


def server_tls(identity: Files) -> Json:
    """Only callers with a certificate of our authority and namespace get as far as a request."""
    anyone_of_ours = {"prefix": topology.spiffe_prefix()}
    return _tls("Downstream", identity, anyone_of_ours, require_client_certificate=True)


def client_tls(identity: Files, service: str) -> Json:
    """Only the service itself is talked to."""
    return _tls("Upstream", identity, {"exact": topology.spiffe_id(service)})


def _to_stranger(where: Tcp, ca: str) -> Json:
    """TLS to a server that is none of the mesh: its certificate has to name the host, by a CA that is trusted."""
    kind = "DNS" if where.is_name else "IP_ADDRESS"
    validation = {
        "trusted_ca": {"filename": ca},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": where.host}}],
    }
    context = {"alpn_protocols": ["h2"], "validation_context": validation}
    settings = typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context=context,
        **({"sni": where.host} if where.is_name else {}),
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": settings}


def _tls(side: str, identity: Files, peer: Json, **more: object) -> Json:
    context = {
        # Both: the upstream maximum defaults to 1.2, and the minimum alone validates and then fails every call.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificates": [
            {"certificate_chain": {"filename": identity.certificate}, "private_key": {"filename": identity.key}}
        ],
        "validation_context": {
            "trusted_ca": {"filename": identity.ca},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}],
        },
    }
    kind = f"extensions.transport_sockets.tls.v3.{side}TlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(kind, common_tls_context=context, **more)}
