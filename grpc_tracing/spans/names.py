"""The names of services as different tracers write them."""

import re
import sys

_NAME = re.compile(r"([^.]+)(?:\.[^.]+)?")


def fold(service: str) -> str:
    """The service behind a span's service name: `orders.shop`, as Istio writes workload and namespace, is `orders`.

    An Istio ingress gateway is the `ingress`; a name of three or more parts is left alone.
    """
    match = _NAME.fullmatch(service)
    name = match[1] if match else service
    return "ingress" if name.endswith("ingressgateway") else sys.intern(name)
