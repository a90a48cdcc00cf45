"""The spans of a Talk call through the local mesh, as its Envoys report them: data for tests and screenshots."""

import os
import uuid
from dataclasses import replace

from tests.store.support import Part

SERVER, CLIENT = 2, 3
PATH = "/org.feuyeux.grpc.LandingService/"
# Service, kind and when it begins and how long it lasts, in microseconds, as a measured call through six Envoys has it.
HOPS = (
    ("requester", CLIENT, 0, 9100),
    ("ingress", CLIENT, 700, 8000),
    ("svc1", SERVER, 1300, 7100),
    ("svc1", CLIENT, 2400, 5600),
    ("svc2", SERVER, 3000, 4700),
    ("svc2", CLIENT, 4000, 3300),
    ("svc3", SERVER, 4700, 2300),
)


def new_id(size: int = 8) -> str:
    return os.urandom(size).hex()


def talk_parts(
    rpc: str = "Talk", request_id: str | None = None, slower: float = 1.0, fails_at: str = "", version: str = ""
) -> list[Part]:
    """The spans of one whole call, each the parent of the next; `fails_at` names the service that gives an error."""
    request_id = request_id or str(uuid.uuid4())
    names = [name for name, *_ in HOPS]
    last = names.index(fails_at) if fails_at else -1
    parts: list[Part] = []
    for index, (service, kind, at_us, lasts_us) in enumerate(HOPS):
        failed = bool(fails_at) and index <= last
        parts.append(
            Part(
                service=service,
                kind=kind,
                span_id=new_id(),
                parent_id=parts[-1].span_id if parts else "",
                at_us=int(at_us * slower),
                lasts_us=int(lasts_us * slower),
                name="Talk" if service == "requester" else "ingress" if kind == SERVER else "egress",
                error=failed,
                attributes=_attributes(service, rpc, request_id, failed=failed),
                version=version if service == "svc3" else "",
            )
        )
    return parts


def cut_at(parts: list[Part], service: str) -> tuple[list[Part], list[Part]]:
    """The two traces that come of it when `service` does not forward the trace headers."""
    index = next(i for i, part in enumerate(parts) if part.service == service and part.kind == CLIENT)
    return parts[:index], [replace(parts[index], parent_id=""), *parts[index + 1 :]]


def _attributes(service: str, rpc: str, request_id: str, *, failed: bool) -> dict[str, str]:
    if service == "requester":
        return {"talk.rpc": rpc, "talk.request_id": request_id}
    return {
        "node_id": service,
        "guid:x-request-id": request_id,
        "http.url": f"http://127.0.0.1:9999{PATH}{rpc}",
        "http.method": "POST",
        "user_agent": "grpc-python-asyncio/1.85.1 grpc-c/58.0.0 (linux; chttp2)",
        "http.protocol": "HTTP/2",
        "peer.address": "127.0.0.1",
        "component": "proxy",
        "grpc.path": PATH + rpc,
        "upstream_cluster.name": "app",
        "http.status_code": "200",
        "response_flags": "-",
        "grpc.status_code": "14" if failed else "0",
    }
