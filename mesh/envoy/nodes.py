"""Envoy's configuration per workload: a sidecar for each service, and the ingress.

Every address, path and identity is a parameter, so that the local mesh and containers use the same configuration.
"""

from dataclasses import dataclass

from chain import topology
from mesh.envoy.parts import (
    Address,
    Fault,
    Json,
    Node,
    bootstrap,
    client_tls,
    cluster,
    listener,
    manager,
    percentage,
    refusal,
    route,
    server_tls,
    typed,
)

Addresses = tuple[Address, ...]


@dataclass(frozen=True)
class Outbound:
    """Where a workload's app calls its sidecar to reach a service, and that service's sidecars.

    canary: those of the service's second version, for the calls on its lane.
    """

    service: str
    listen: Address
    upstream: Addresses
    canary: Addresses = ()


RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,reset"
"""Envoy's words for the failures after which the ingress tries again; k8s/mesh has the same for Istio's."""


def ingress(node: Node, listen: Address, upstream: Addresses) -> Json:
    """The way in, and the one hop that retries: retrying at two hops multiplies."""
    service = node.graph.first
    filters = manager(
        node,
        "ingress",
        [
            route(service, headers=_of_a_grpc_call(), retry=_retries(len(upstream))),
            refusal(404, "no such method", _of_a_grpc_call()),
            refusal(400, "not a gRPC call"),
        ],
        [],
        early_header_mutation_extensions=[_drop_malformed_traceparent()],
        request_headers_timeout="10s",  # a caller that never finishes its headers
        common_http_protocol_options={"idle_timeout": "60s"},  # a connection without a request
        delayed_close_timeout="0.1s",  # a connection that was cut counts, and holds what it sent, for so long
    )
    way_in = listener("ingress", listen, "OUTBOUND", filters)
    way_in["per_connection_buffer_limit_bytes"] = 64 * 1024  # for each of a thousand hostile connections
    # By default a burst of connections is taken whole, and those that follow meet the limit before any is done with.
    way_in["max_connections_to_accept_per_socket_event"] = 10
    return bootstrap(node, [way_in], [_hop(node, service, service, upstream)], strangers=True)


def sidecar(
    node: Node,
    *,
    inbound: Address,
    app: Addresses,
    outbounds: tuple[Outbound, ...] = (),
    faults: tuple[Fault, ...] = (),
) -> Json:
    """One Envoy for both directions: inbound to the app, and outbound to the sidecars of each service it calls."""
    listeners = [_inbound(node, inbound, faults)]
    clusters = [cluster("app", app)]
    for outbound in outbounds:
        listeners.append(_outbound(node, outbound))
        clusters.append(_hop(node, outbound.service, outbound.service, outbound.upstream))
        if outbound.canary:
            clusters.append(_hop(node, _lane_cluster(), outbound.service, outbound.canary))
    return bootstrap(node, listeners, clusters)


def _lane_cluster() -> str:
    return f"{topology.CANARY.service}-{topology.CANARY.version}"


def _hop(node: Node, name: str, service: str, upstream: Addresses) -> Json:
    return cluster(name, upstream, client_tls(node.identity, service) if node.identity else None)


def _inbound(node: Node, where: Address, faults: tuple[Fault, ...]) -> Json:
    filters = [_only_callers(node)] if node.identity else []
    filters += [_fault(fault) for fault in faults]
    settings = manager(
        node,
        "inbound",
        [route("app")],
        filters,
        # Over a Unix socket the app learns nowhere else who calls.
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"uri": True},
    )
    return listener("inbound", where, "INBOUND", settings, server_tls(node.identity) if node.identity else None)


def _outbound(node: Node, to: Outbound) -> Json:
    # The app calls a local socket; whom it means is what spans and the next hop should see.
    authority = f"{topology.host(to.service)}:{topology.SERVICE_PORT}"
    routes = [route(to.service, authority=authority)]
    if to.canary:
        routes.insert(0, route(_lane_cluster(), authority=authority, headers=[_on_the_lane()]))
    way_out = listener(f"to {to.service}", to.listen, "OUTBOUND", manager(node, "outbound", routes, []))
    way_out["ignore_global_conn_limit"] = True
    return way_out


def _of_a_grpc_call() -> list[Json]:
    """What every gRPC call's headers match.

    The calls of all callers share a connection to the service, and gRPC's core (1.85) answers a malformed
    grpc-timeout with an error that strikes other calls there.
    """
    return [
        {"name": ":method", "string_match": {"exact": "POST"}},
        {"name": "te", "string_match": {"exact": "trailers"}},
        {"name": "content-type", "string_match": {"prefix": "application/grpc"}},
        {
            "name": "grpc-timeout",
            "string_match": {"safe_regex": {"regex": "([0-9]{1,8}[HMSmun])?"}},
            "treat_missing_header_as_empty": True,
        },
    ]


def _on_the_lane() -> Json:
    return {"name": topology.CANARY.header, "string_match": {"exact": topology.CANARY.value}}


def _only_callers(node: Node) -> Json:
    principals = [
        {"authenticated": {"principal_name": {"exact": topology.spiffe_id(caller)}}}
        for caller in node.graph.callers(node.service)
    ]
    policy = {"permissions": [{"any": True}], "principals": principals}
    # Whom nobody may call: no policy lets nobody in, and Envoy takes none without principals.
    rules = {"action": "ALLOW", "policies": {"callers": policy} if principals else {}}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": typed("extensions.filters.http.rbac.v3.RBAC", rules=rules),
    }


def _fault(fault: Fault) -> Json:
    kind = "extensions.filters.http.fault.v3.HTTPFault"
    share = percentage(fault.percent)
    if fault.delay is not None:
        settings = typed(kind, delay={"fixed_delay": f"{fault.delay:.9f}s", "percentage": share})
    else:
        settings = typed(kind, abort={"grpc_status": fault.status, "percentage": share})
    return {"name": "envoy.filters.http.fault", "typed_config": settings}


def _retries(replicas: int) -> Json:
    """More where there are more ways to try: each sidecar on the way learns by one failed call who is dead."""
    return {
        "retry_on": RETRY_ON,
        "num_retries": 2 if replicas == 1 else 4 * replicas,
        "retry_host_predicate": [_other_host()],
        "host_selection_retry_max_attempts": 3,
    }


def _other_host() -> Json:
    kind = "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed(kind)}


def _drop_malformed_traceparent() -> Json:
    """A traceparent that Envoy cannot read stops all tracing of the call, and travels on as it is: take it off.

    A mutation has no condition, but one that writes an empty value writes nothing: keep the good value in another
    header while the original goes.
    """
    value = "request.headers['traceparent']"
    good = " && ".join(
        [
            # In two pieces that share a dash: Envoy refuses longer expressions.
            f"size({value}) == 55",
            f"{value}.matches('^[0-9a-f]{{2}}-[0-9a-f]{{32}}-')",
            f"{value}.matches('-[0-9a-f]{{16}}-[0-9a-f]{{2}}$')",
            f"!{value}.startsWith('ff-')",
            f"!{value}.contains('-{'0' * 32}-')",
            f"!{value}.contains('-{'0' * 16}-')",
        ]
    )
    kept = "x-envoy-traceparent"
    mutations = [
        {"remove": kept},
        _set(kept, f"%CEL({good} ? {value} : '')%"),
        {"remove": "traceparent"},
        _set("traceparent", f"%REQ({kept})%"),
        {"remove": kept},
    ]
    kind = "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(kind, mutations=mutations),
    }


def _set(key: str, value: str) -> Json:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
