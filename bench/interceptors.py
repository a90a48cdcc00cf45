"""A forwarder of unary calls whose headers go on by hand, by interceptors, or not at all: what interceptors cost.

``python -m bench.interceptors LISTEN NEXT_HOP WAY``.
"""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import uvloop

from bench.chains import Hop, module
from grpc_tracing.calling.limits import LIMIT_OPTIONS
from grpc_tracing.calling.metadata import OrderedMetadata
from grpc_tracing.propagation import aio, headers_of
from talk.relay import SERVICES

WAYS: Final = ("not at all", "by hand", "by interceptors")


def hops() -> dict[str, Callable[[str, str], Hop]]:
    """By way: what makes a hop for `bench.chains.chain`."""
    return {way: partial(_hop, way) for way in WAYS}


def _hop(way: str, listen: str, next_hop: str) -> Hop:
    return Hop(module("bench.interceptors", listen, next_hop, way))


def handler(onward: Any, way: str) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def talk(request: bytes, context: Any) -> bytes:
        metadata = OrderedMetadata(headers_of(context)) if way == "by hand" else None
        answer: bytes = await onward(request, metadata=metadata, timeout=context.time_remaining())
        return answer

    return grpc.unary_unary_rpc_method_handler(talk)


async def serve(listen: str, next_hop: str, way: str) -> None:
    ours = way == "by interceptors"
    server = grpc.aio.server(interceptors=aio.server_interceptors() if ours else None, options=LIMIT_OPTIONS)
    given = aio.client_interceptors() if ours else None
    async with grpc.aio.insecure_channel(next_hop, options=LIMIT_OPTIONS, interceptors=given) as channel:
        talk = handler(channel.unary_unary(f"/{SERVICES[0]}/Talk"), way)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICES[0], {"Talk": talk}),))
        server.add_insecure_port(listen)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:4]))
