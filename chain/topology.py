"""The one table: which workloads there are, where they listen, who they are and who may call whom.

The local mesh, compose and Kubernetes all say what stands here.
"""

from dataclasses import dataclass

NAMESPACE = "grpc-tracing"
TRUST_DOMAIN = "cluster.local"

INGRESS_PORT = 9999
SERVICE_PORT = 9996

PAGES_PORT = 16686
OTLP_GRPC_PORT = 4317
OTLP_HTTP_PORT = 4318

INGRESS = "ingress"
CLIENT = "client"
SERVICES = ("svc1", "svc2", "svc3")

# Who may call whom, by service account. What is not here is denied.
EDGES = (
    (INGRESS, "svc1"),
    (CLIENT, "svc1"),
    ("svc1", "svc2"),
    ("svc2", "svc3"),
)

IDENTITIES = (INGRESS, CLIENT, *SERVICES)


@dataclass(frozen=True)
class Lane:
    """A second version of a service, for the calls that carry exactly this header value."""

    service: str
    version: str
    header: str
    value: str


CANARY = Lane(service="svc3", version="canary", header="x-lane", value="canary")


HOST_PREFIX = "grpc-server-"
"""What stands before a service's name in its Kubernetes Service's, its host's in compose, and Istio's spans."""


def host(service: str) -> str:
    """The name of the service's Kubernetes Service, and of its host in compose."""
    return f"{HOST_PREFIX}{service}"


def host_names(service: str) -> tuple[str, ...]:
    """Every DNS name that a service's certificate answers to."""
    name = host(service)
    return (name, f"{name}.{NAMESPACE}", f"{name}.{NAMESPACE}.svc.{TRUST_DOMAIN}", service)


def spiffe_id(account: str) -> str:
    return f"{spiffe_prefix()}{account}"


def spiffe_prefix() -> str:
    """What every identity of this namespace begins with."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/"


def next_hop(service: str) -> str | None:
    """The service that this one calls; None for the last one."""
    return next((callee for caller, callee in EDGES if caller == service), None)


def callers(service: str) -> tuple[str, ...]:
    """The service accounts that may call this service."""
    return tuple(caller for caller, callee in EDGES if callee == service)
