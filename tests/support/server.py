"""A synchronous gRPC server for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS


@contextmanager
def grpc_server(
    *handlers: grpc.GenericRpcHandler,
    address: str = "127.0.0.1:0",
    threads: int = 64,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
    options: Sequence[tuple[str, Any]] = LIMIT_OPTIONS,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[str]:
    """Serves the handlers at a Unix socket or TCP address; gives the address bound."""
    pool = futures.ThreadPoolExecutor(threads)
    server = grpc.server(pool, list(handlers), list(interceptors), options)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    finally:
        server.stop(None).wait()
