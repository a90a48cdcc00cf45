"""The names of services as different tracers write them."""

import re
import sys

_NAME = re.compile(r"(?:grpc-server-)?([^.]+)(?:\.[^.]+)?")


def fold(service: str) -> str:
    """The service behind a span's service name: `grpc-server-svc1.grpc-tracing`, as Istio reports it, is `svc1`.

    An Istio ingress gateway is the `ingress`; a name of three or more parts is left alone.
    """
    match = _NAME.fullmatch(service)
    name = match[1] if match else service
    return "ingress" if name.endswith("ingressgateway") else sys.intern(name)
