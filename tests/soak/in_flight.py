"""The calls that a mesh still has open."""

from pathlib import Path
from typing import Any

from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from mesh.envoy import admin
from tests.mesh.support import Mesh
from tests.support.stub import connect


def in_flight(running: Mesh) -> int:
    """Calls that any service (started with TALK_CHANNELZ=on) or Envoy has begun and not ended."""
    count = 0
    for part in running.facts["processes"]:
        kind, target = part["probe"]["kind"], part["probe"]["target"]
        if kind == "health":
            count += _of_a_service(target)
        elif kind == "envoy":
            count += _of_an_envoy(Path(target))
    return count


def _of_a_service(target: str) -> int:
    with connect(target) as stub:
        channelz: Any = channelz_pb2_grpc.ChannelzStub(stub.channel)
        data = channelz.GetServers(channelz_pb2.GetServersRequest(), timeout=20).server[0].data
        asking = 1  # this very question
        return int(data.calls_started - data.calls_succeeded - data.calls_failed - asking)


def _of_an_envoy(path: Path) -> int:
    return sum(admin.value(path, f"http.{name}.downstream_rq_active") for name in ("ingress", "inbound", "outbound"))
