"""Whether the parts of a mesh answer, asked of the parts themselves."""

import secrets
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from mesh.envoy import admin

_TIMEOUT = 2.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # Else a failed attempt's back-off is inherited by the next channel.
    ("grpc.use_local_subchannel_pool", 1),
)


def answers(probe: dict[str, Any]) -> bool:
    """probe: a Probe of plan.py as JSON."""
    kind, target = probe["kind"], probe["target"]
    if kind == "envoy":
        return admin.is_ready(Path(target))
    if kind == "http":
        return _serves_page(target)
    return _serves_grpc(target) if kind == "health" else _accepts(target)


def _serves_page(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _serves_grpc(target: str) -> bool:
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def call_passes(target: str) -> bool:
    """Whether a call gets through the chain. It asks not to be traced."""
    unsampled = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    greeting_0 = b"\n\x010"  # TalkRequest(data="0")
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        talk: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/org.feuyeux.grpc.LandingService/Talk")
        try:
            talk(greeting_0, metadata=(("traceparent", unsampled),), timeout=_TIMEOUT)
        except grpc.RpcError:
            return False
    return True


def _accepts(target: str) -> bool:
    """target: unix:PATH or HOST:PORT."""
    path = target.removeprefix("unix:")
    host, _, port = target.rpartition(":")
    with socket.socket(socket.AF_UNIX if path != target else socket.AF_INET) as sock:
        sock.settimeout(_TIMEOUT)
        return sock.connect_ex(path if path != target else (host, int(port))) == 0
