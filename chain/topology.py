"""The one table: which workloads there are, where they listen, who they are and who may call whom.

The local mesh, compose and Kubernetes all say what stands here.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

NAMESPACE = "grpc-tracing"
TRUST_DOMAIN = "cluster.local"

INGRESS_PORT = 9999
SERVICE_PORT = 9996

PAGES_PORT = 16686
OTLP_GRPC_PORT = 4317
OTLP_HTTP_PORT = 4318

INGRESS = "ingress"
CLIENT = "client"

FEWEST_HOPS: Final = 2
MOST_HOPS: Final = 9
PROPAGATE_ALSO: Final = ("x-lane", "end-user")
"""What every service forwards beside the trace headers."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Services and who calls whom: the first service is called from outside."""

    services: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]

    @property
    def first(self) -> str:
        return self.services[0]

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Who may call whom, by service account. What is not here is denied."""
        return ((INGRESS, self.first), (CLIENT, self.first), *self.calls)

    @property
    def identities(self) -> tuple[str, ...]:
        return (INGRESS, CLIENT, *self.services)

    def next_hops(self, service: str) -> tuple[str, ...]:
        """The services that this one calls."""
        return tuple(callee for caller, callee in self.calls if caller == service)

    def next_hop(self, service: str) -> str | None:
        """The first service that this one calls; None for one that calls nobody."""
        return next(iter(self.next_hops(service)), None)

    def callers(self, service: str) -> tuple[str, ...]:
        """The service accounts that may call this service."""
        return tuple(caller for caller, callee in self.edges if callee == service)


def of_length(hops: int) -> Graph:
    """A chain, svc1 to svcN: each calls the next, the last calls nobody."""
    services = tuple(f"svc{number}" for number in range(1, hops + 1))
    return Graph(services, tuple(pairwise(services)))


DEFAULT: Final = of_length(3)
"""The services that have a package and manifests of their own; compose and Kubernetes run these."""


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
