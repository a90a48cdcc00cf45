"""Trace headers from each call that a process takes to the calls that it makes because of it.

`aio` and `sync` hold the interceptors of gRPC's two Python APIs. The names below are for what interceptors do not see:
other protocols, jobs in threads, work that outlasts its call, and handlers that pass the headers on by hand.
"""

from grpc_tracing.headers.forwarding import Propagation, rule
from grpc_tracing.propagation import aio, sync
from grpc_tracing.propagation.outgoing import headers_of, outgoing
from grpc_tracing.propagation.received import lasting, serving, wrap

__all__ = ["Propagation", "aio", "headers_of", "lasting", "outgoing", "rule", "serving", "sync", "wrap"]
