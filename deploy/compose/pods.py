"""What compose's workloads need before they start: an identity and an Envoy configuration each, in a folder of its own.

Runs once, in a container of its own: `python -m deploy.compose.pods /pods`. A workload sees its own folder alone.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509

from chain import topology
from mesh.envoy import nodes
from mesh.envoy.parts import Json, Node, Pipe, Tcp, Tracing
from mesh.identities import Authority, Files, write

WORKLOADS = (topology.INGRESS, *topology.DEFAULT.services)

# Within a pod, on its loopback: where the service listens, and where its sidecar takes the calls that go out.
APP = Tcp("127.0.0.1", 9995)
OUTBOUND = Tcp("127.0.0.1", 15001)

# In the workload's own container.
FOLDER = Path("/pod")
ADMIN = Pipe("/tmp/admin.sock")  # noqa: S108 a tmpfs that no other container sees

_RENEW_WITHIN = timedelta(days=30)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m deploy.compose.pods FOLDER", file=sys.stderr)  # noqa: T201 (one line for who runs it)
        return 2
    root = Path(arguments[0])
    collector = os.environ.get("COLLECTOR") or "traces"
    for workload in WORKLOADS:
        (root / workload).mkdir(exist_ok=True)
        _write_whole(root / workload / "envoy.yaml", yaml.safe_dump(configuration(workload, collector)))
    if not _are_good(root):
        issue(root)
    return 0


def issue(root: Path) -> None:
    """New identities from a new authority, for all: its key is gone afterwards, so one alone cannot be added."""
    authority = Authority()
    for workload in WORKLOADS:
        write(authority, root / workload, workload)


def configuration(workload: str, collector: str) -> Json:
    """Envoy's, for a workload; collector: the host, or HOST:PORT, that takes the spans."""
    node = Node(
        name=workload,
        service=workload,
        admin=ADMIN,
        identity=Files.of(FOLDER, workload),
        tracing=Tracing(_collector(collector)),
        label=_label(workload),
    )
    if workload == topology.INGRESS:
        return nodes.ingress(node, _everywhere(topology.INGRESS_PORT), (_sidecar(topology.DEFAULT.services[0]),))
    following = topology.DEFAULT.next_hop(workload)
    return nodes.sidecar(
        node,
        inbound=_everywhere(topology.SERVICE_PORT),
        app=(APP,),
        outbounds=(nodes.Outbound(following, OUTBOUND, (_sidecar(following),)),) if following else (),
    )


def _collector(text: str) -> Tcp:
    host, colon, port = text.partition(":")
    return Tcp(host, int(port) if colon else topology.OTLP_GRPC_PORT)


def _label(workload: str) -> str:
    ingress = workload == topology.INGRESS
    return f"{workload} -> {topology.DEFAULT.services[0]}" if ingress else f"{workload}'s sidecar"


def _everywhere(port: int) -> Tcp:
    return Tcp("0.0.0.0", port)  # noqa: S104 the container's own network; compose.yaml says what leaves it


def _sidecar(service: str) -> Tcp:
    return Tcp(topology.host(service), topology.SERVICE_PORT)


def _are_good(root: Path) -> bool:
    """Whether all identities are there, from one authority, and will be good for a while."""
    files = [Files.of(root / workload, workload) for workload in WORKLOADS]
    try:
        authorities = {Path(file.ca).read_bytes() for file in files}
        ends = [x509.load_pem_x509_certificate(Path(file.certificate).read_bytes()) for file in files]
        keys = [Path(file.key).read_bytes() for file in files]
    except (OSError, ValueError):
        return False
    lasting = all(end.not_valid_after_utc > datetime.now(UTC) + _RENEW_WITHIN for end in ends)
    return len(authorities) == 1 and lasting and all(keys)


def _write_whole(path: Path, text: str) -> None:
    """Whole or not at all: an Envoy may be starting at this moment."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
